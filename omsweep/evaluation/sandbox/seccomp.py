"""Which system calls a program may not make, as a filter of the kernel (classic BPF).

A list of what is denied, not of what is allowed: Python and its libraries use most of the others, and namespaces hold
what they reach. What is denied makes or enters namespaces, mounts, reaches into other processes, changes
the limits of others, loads code into the kernel, or holds memory that no other limit counts. A socket is of this
machine's files (AF_UNIX) only, because some families (AF_VSOCK) know no network namespace.
"""

import errno
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""`platform.machine()` -> the kernel's number of the architecture (linux/audit.h)."""

DENIED: dict[str, tuple[int, int]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
"""System call -> its number on x86_64 and on aarch64."""

_CLONE, _CLONE3, _SOCKET, _PRLIMIT = (56, 220), (435, 435), (41, 198), (302, 261)
_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _ITSELF = 1, 0
_X32 = 0x40000000
"""Bit of the system calls of x86_64's second interface, whose numbers differ."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str) -> bytes:
    """The filter as an array of the kernel's `sock_filter`; KeyError for a machine not in `ARCHITECTURES`."""
    column = list(ARCHITECTURES).index(machine) if machine in ARCHITECTURES else -1
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        _deny(errno.EPERM),
    ]
    for numbers in DENIED.values():
        lines += [(_EQUAL, 0, 1, numbers[column]), _deny(errno.EPERM)]
    # the library falls back to clone, whose flags a filter can read
    lines += [(_EQUAL, 0, 1, _CLONE3[column]), _deny(errno.ENOSYS)]
    lines += [
        (_EQUAL, 0, 3, _CLONE[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        _deny(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 3, _SOCKET[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        _deny(errno.EAFNOSUPPORT),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 3, _PRLIMIT[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _ITSELF),
        _deny(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _deny(error: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERROR | error)
