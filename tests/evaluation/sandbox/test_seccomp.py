"""The filter, run by an interpreter of the few instructions that it uses, against the kernel's own meaning of them."""

import errno
import struct

import pytest

from omsweep.evaluation.sandbox.seccomp import ARCHITECTURES, DENIED, program

ALLOWED, KILLED, DENIAL = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = list(ARCHITECTURES)


def result(code: bytes, number: int, argument: int, architecture: int) -> int:
    """What the kernel would do with a system call: linux/filter.h, linux/seccomp.h."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    lines = list(struct.iter_unpack("HBBI", code))
    place, held = 0, 0
    while True:
        what, if_true, if_false, value = lines[place]
        place += 1
        if what == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif what == 0x06:
            return int(value)
        else:
            test = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[what]
            place += if_true if test else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_denied_calls_are_denied_and_others_are_not(machine: str) -> None:
    code, column = program(machine), MACHINES.index(machine)
    denied = {numbers[column] for numbers in DENIED.values()}
    special = {(56, 220)[column], 435, (41, 198)[column], (302, 261)[column]}
    for number in range(500):
        found = result(code, number, 0, ARCHITECTURES[machine])
        if number in denied:
            assert found == DENIAL | errno.EPERM, number
        elif number not in special:
            assert found == ALLOWED, number


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_depend_on_an_argument(machine: str) -> None:
    column, code = MACHINES.index(machine), program(machine)
    clone, socket, prlimit = (56, 220)[column], (41, 198)[column], (302, 261)[column]

    def of(number: int, argument: int) -> int:
        return result(code, number, argument, ARCHITECTURES[machine])

    assert of(clone, 0x01200011) == of(clone, 0x3D0F00) == ALLOWED  # a fork and a thread of the C library
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert of(clone, flag | 17) == DENIAL | errno.EPERM
    assert of(435, 0) == DENIAL | errno.ENOSYS
    assert of(socket, 1) == ALLOWED
    assert {of(socket, family) for family in (0, 2, 10, 16, 17, 38, 40)} == {DENIAL | errno.EAFNOSUPPORT}
    assert of(prlimit, 0) == ALLOWED
    assert of(prlimit, 1) == DENIAL | errno.EPERM


def test_another_architecture_or_interface_gets_nothing() -> None:
    code = program("x86_64")
    assert result(code, 0, 0, 0x40000003) == KILLED
    assert result(code, 0x40000000 | 41, 1, ARCHITECTURES["x86_64"]) == DENIAL | errno.EPERM
    with pytest.raises(KeyError, match="riscv64"):
        program("riscv64")
