"""What runs a Python program inside the sandbox, in the program's own process. Standard library only.

It says on the channel that every test has held by a secret, which is in no file, argument, variable of the environment
or module. Code in this process that looks for it, in the frames of its callers, can find it: see docs/sandbox.md.
"""

import json
import os
import sys
import types

CHANNEL = 3


def main() -> None:
    """Run the program that standard input holds, and say how it went."""
    given = json.loads(sys.stdin.read())
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    # kept here, so that what the program puts in their place is not called
    write, end, dumps = os.write, os._exit, json.dumps
    said: dict[str, object]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        exec(compile(given["program"], "program.py", "exec"), module.__dict__)
        said = {"secret": given["secret"]}
    except MemoryError:
        said = {"memory": True, "reason": "MemoryError"}
    except SystemExit:
        said = {"reason": "it ended itself before its tests did"}
    except BaseException as error:
        said = {"reason": f"{type(error).__name__}: {error}"[:1000]}
    write(CHANNEL, dumps(said).encode())
    end(0)


if __name__ == "__main__":
    main()
