"""What stands between a machine and a program that a model wrote. Run as a script of its own; standard library only.

    omsweep -> launcher -> init -> program

The launcher is an ordinary process; when omsweep kills it, init dies with it. Init is process 1 of the new namespaces:
it builds the file system, keeps time and memory, and everything that the program started dies with it.

The kernel's calls are made from here, not by bubblewrap or util-linux's `unshare`: neither is installed everywhere,
neither sets limits, and `unshare` builds no file system; two ways would be two things to trust. It needs Linux 5.14:
since then a limit on processes is counted in the user namespace. Such a limit never binds root; started by root, the
program therefore runs as another user of the machine (65534), else as the user itself. Inside it is user 1000.

A job comes as JSON on standard input. Two arguments are file descriptors: the program's channel, and where JSON goes
that says what happened.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import stat
import struct
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, NoReturn

libc = ctypes.CDLL(None, use_errno=True)

NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
"""CLONE_NEWUSER, NEWNS, NEWPID, NEWNET, NEWIPC, NEWUTS."""
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE, MOUNT_SETATTR = 2, -100, 0x8000, 442
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
CAPABILITY_VERSION_3, SECCOMP_MODE_FILTER = 0x20080522, 2
INSIDE, NOBODY = 1000, 65534
DEVICES = ("null", "zero", "full", "random", "urandom")
CHANNEL = 3
"""File descriptor on which the program's harness says how its tests went."""
STATUS = 4
"""File descriptor on which the launcher says what happened; the program has none of that number."""
LOOK_SECONDS = 0.1
"""Between two looks at the memory of all processes."""
PAGE = resource.getpagesize()


def main(channel: int, status: int) -> None:
    """Read the job, enter the namespaces, start init and wait for it."""
    job = json.loads(sys.stdin.buffer.read())
    above = [fcntl.fcntl(file, fcntl.F_DUPFD, STATUS + 1) for file in (channel, status)]
    os.dup2(above[0], CHANNEL)
    os.dup2(above[1], STATUS, inheritable=False)
    os.closerange(STATUS + 1, 64)
    try:
        enter_namespaces()
        init = os.fork()
        if init == 0:
            as_init(job)
        os.waitpid(init, 0)
    except OSError as error:
        tell(refused=said(error))


def called(result: int, what: str) -> int:
    """A C function's result; OSError with what was tried where it is an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def said(error: OSError) -> str:
    """An error of the kernel in a few words."""
    return f"{error.filename or 'fork'}: {error.strerror}"


def tell(**what: Any) -> None:
    """One line of JSON to omsweep."""
    os.write(STATUS, json.dumps(what).encode() + b"\n")


def enter_namespaces() -> None:
    """New namespaces; a child that stays outside writes which users there are."""
    user, group = os.geteuid(), os.getegid()
    root = user == 0 and has_nobody("uid_map") and has_nobody("gid_map")
    entered_read, entered_write = os.pipe()
    outside = os.fork()
    if outside == 0:
        os.close(entered_write)
        if not os.read(entered_read, 1):
            os._exit(0)
        try:
            write_maps(Path(f"/proc/{os.getppid()}"), root, user, group)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    os.close(entered_read)
    try:
        called(libc.unshare(NAMESPACES), "new namespaces")
        os.write(entered_write, b"x")
    finally:
        os.close(entered_write)
        code = os.waitstatus_to_exitcode(os.waitpid(outside, 0)[1])
    if code:
        raise OSError(code, os.strerror(code), "map of users")


def has_nobody(name: str) -> bool:
    """Whether `NOBODY` is somebody here; a namespace that only maps its root to a user has no other."""
    ranges = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
    return any(int(first) <= NOBODY < int(first) + int(count) for first, _, count in ranges)


def write_maps(process: Path, root: bool, user: int, group: int) -> None:
    """As root two users, root for building and `NOBODY` for the program; else the user alone."""
    if root:
        (process / "uid_map").write_text(f"0 0 1\n{INSIDE} {NOBODY} 1\n")
        (process / "gid_map").write_text(f"0 0 1\n{INSIDE} {NOBODY} 1\n")
        return
    (process / "uid_map").write_text(f"{INSIDE} {user} 1\n")
    (process / "setgroups").write_text("deny")
    (process / "gid_map").write_text(f"{INSIDE} {group} 1\n")


def as_init(job: dict[str, Any]) -> NoReturn:
    """Process 1: build the file system, start the program, and end it all when it ends or a limit is reached."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        build_root(job)
        libc.sethostname(b"sandbox", 7)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        stdin = sealed(job["stdin"].encode())
        # no process of the program may look into this one, which knows what the verdict rests on
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        program = os.fork()
    except OSError as error:
        tell(refused=said(error))
        os._exit(1)
    if program == 0:
        try:
            become_program(job, stdin)
        except OSError as error:
            tell(refused=said(error))
        os._exit(1)
    # from here on the program has a hand in what goes wrong
    tell(started=True)
    try:
        tell(**ending(program, job["limits"]))
    finally:
        os._exit(0)


def sealed(content: bytes) -> int:
    """A file of memory that nobody can change."""
    file = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(file, "wb", closefd=False) as writing:
        writing.write(content)
    os.lseek(file, 0, os.SEEK_SET)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return file


def ending(program: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Wait for the program's first process: its exit status, or the limit that was reached."""
    ends = time.monotonic() + limits["wall_seconds"]
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, min(LOOK_SECONDS, max(0.0, ends - time.monotonic())))
        while (ended := reaped()) is not None:
            if ended[0] == program:
                code = os.waitstatus_to_exitcode(ended[1])
                return {"exit": code} if code >= 0 else {"signal": -code}
        if time.monotonic() >= ends:
            return {"limit": "timed out"}
        if memory_of_all() > limits["memory_mib"] << 20:
            return {"limit": "memory"}


def reaped() -> tuple[int, int] | None:
    """A process that has ended, with its status; None for none."""
    try:
        process, code = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (process, code) if process else None


def memory_of_all() -> int:
    """Bytes that the program's processes hold and that are no file's; pages shared after a fork count in each."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/statm", "rb") as file:
                    _, resident, shared = file.read().split()[:3]
            except OSError:
                continue
            total += (int(resident) - int(shared)) * PAGE
    return total


def build_root(job: dict[str, Any]) -> None:
    """A file system of memory that holds what is named, read-only, and a temporary folder; nothing else is left."""
    limits = job["limits"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=1k,mode=755")
    os.chdir("/tmp")
    os.mkdir("machine")
    called(libc.syscall(pivot_root(), b".", b"machine"), "pivot_root")
    os.chdir("/")
    os.mkdir("/dev")
    for path in [*job["shown"], *(f"/dev/{name}" for name in DEVICES)]:
        show(path)
    os.symlink("/proc/self/fd", "/dev/fd")
    os.symlink("/tmp", "/dev/shm")
    os.mkdir("/proc")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid")
    os.mkdir("/tmp")
    sizes = f"size={limits['disk_mib']}m,nr_inodes={limits['files']},mode=1777"
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, sizes)
    for name, text in job["files"].items():
        with open(f"/tmp/{name}", "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(f"/tmp/{name}", 0o644)
    called(libc.umount2(b"/machine", MNT_DETACH), "umount of the machine's files")
    os.rmdir("/machine")
    set_attributes("/", ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0)


def pivot_root() -> int:
    """Its number, for which the C library has no function."""
    return {"x86_64": 155, "aarch64": 41}[os.uname().machine]


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2); OSError naming the target."""
    encoded = kind.encode() if kind else None
    called(libc.mount(source.encode(), target.encode(), encoded, flags, options.encode()), f"mount {target}")


def show(path: str) -> None:
    """A file or folder of the machine at its own path, read-only; a link as a link; one that is missing is left out."""
    source = "/machine" + path
    try:
        mode = os.lstat(source).st_mode
    except OSError:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), path)
        return
    if stat.S_ISDIR(mode):
        os.makedirs(path, exist_ok=True)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, path, None, MS_BIND | MS_REC)
    device = 0 if stat.S_ISCHR(mode) else ATTR_NODEV | ATTR_RDONLY
    set_attributes(path, ATTR_NOSUID | device, AT_RECURSIVE)


def set_attributes(path: str, attributes: int, flags: int) -> None:
    """mount_setattr(2), which only adds to what a mount forbids."""
    wanted = struct.pack("QQQQ", attributes, 0, 0, 0)
    result = libc.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, wanted, len(wanted))
    called(result, f"mount_setattr {path}")


def become_program(job: dict[str, Any], stdin: int) -> None:
    """Take on limits, give up rights, and be the program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    os.chdir("/tmp")
    os.dup2(stdin, 0)
    os.closerange(STATUS + 1, 1024)
    for name, value in rlimits(job["limits"]).items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value + (name == "CPU")))
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(INSIDE, INSIDE, INSIDE)
        os.setresuid(INSIDE, INSIDE, INSIDE)
    header, none = struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    called(libc.capset(header, none), "capset")
    called(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    rules = ctypes.create_string_buffer(b64decode(job["filter"]))
    rule = struct.pack("HxxxxxxQ", (len(rules) - 1) // 8, ctypes.addressof(rules))
    called(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, rule, 0, 0), "seccomp")
    try:
        os.execve(job["argv"][0], job["argv"], job["environment"])
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"start of {job['argv'][0]}") from error


def rlimits(limits: dict[str, Any]) -> dict[str, int]:
    """Name of a resource -> limit; of processor time the soft one, whose signal says what it was."""
    return {
        "AS": limits["address_mib"] << 20,
        "CORE": 0,
        "CPU": limits["cpu_seconds"],
        "FSIZE": limits["file_mib"] << 20,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "NOFILE": limits["open_files"],
        "NPROC": limits["processes"],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
