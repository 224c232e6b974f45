"""Entry point for `ray job submit --working-dir . -- python jobs/sweep.py SPACE --storage FOLDER`: `omsweep run`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from omsweep.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
