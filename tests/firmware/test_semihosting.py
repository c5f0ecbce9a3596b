"""Semihosting operations as conversations between a bare program and who runs it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.clock import VirtualClock
from bimetal.base.errors import GuestError
from bimetal.firmware.semihosting import LIMIT, Host, NotYet, Operation, Semihosting

SIZE, BLOCK, BUFFER = 0x4_0000, 0x100, 0x200
NOWHERE = 1 << 40
ACCES, BADF, FAULT, INVAL, MFILE, SPIPE, NOSYS = 13, 9, 14, 22, 24, 29, 38


class Program:
    """A program, its memory from 0 on, and what it was given."""

    def __init__(self, command_line: bytes = b"program with arguments") -> None:
        self.bytes = bytearray(SIZE)
        self.screen = b""
        self.typed = b""
        self.codes: list[int] = []
        self.clock = VirtualClock(wall_start_ns=1_000_000_000 * 10**9)
        host = Host(self, self.clock, self.codes.append, command_line, lambda: (0x1000, 0x9000))
        self.service = Semihosting(host)
        self.memory = Memory(self.bytes)

    def write(self, data: bytes) -> None:
        self.screen += data

    def take(self, limit: int) -> bytes:
        taken, self.typed = self.typed[:limit], self.typed[limit:]
        return taken

    def call(self, operation: int, *words: int) -> int:
        """Ask for an operation whose parameter is a block of words."""
        self.memory.write(BLOCK, b"".join(word.to_bytes(8, "little") for word in words))
        return self.service.call(self.memory, operation, BLOCK)

    def pass_on(self, operation: int, parameter: int = 0) -> int:
        """Ask for an operation that takes the parameter itself."""
        return self.service.call(self.memory, operation, parameter)

    def open(self, name: bytes, mode: int = 0) -> int:
        self.memory.write(BUFFER, name + b"\0")
        return self.call(Operation.OPEN, BUFFER, mode, len(name))

    def word(self, address: int) -> int:
        return int.from_bytes(self.bytes[address : address + 8], "little")

    @property
    def errno(self) -> int:
        return self.pass_on(Operation.ERRNO)


class Memory:
    """Bytes from address 0 on."""

    def __init__(self, content: bytearray):
        self.content = content

    def _check(self, address: int, length: int) -> None:
        if address + length > len(self.content):
            raise GuestError(f"nothing at {address:#x}")

    def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return bytes(self.content[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.content[address : address + len(data)] = data

    def text(self, address: int, limit: int) -> bytes:
        self._check(address, 1)
        return bytes(self.content[address : address + limit]).partition(b"\0")[0]


@pytest.fixture
def program() -> Program:
    return Program()


# -- output


def test_output_without_a_handle(program: Program) -> None:
    program.memory.write(BUFFER, b"two strips\0")
    assert program.pass_on(Operation.WRITE0, BUFFER) == 0
    assert program.pass_on(Operation.WRITEC, BUFFER + 2) == 0
    assert program.screen == b"two stripso"


@pytest.mark.parametrize("mode", [4, 8, 11])
def test_output_by_a_handle(program: Program, mode: int) -> None:
    handle = program.open(b":tt", mode)
    assert handle > 0
    program.memory.write(BUFFER, b"bimetal")
    assert program.call(Operation.WRITE, handle, BUFFER, 7) == 0
    assert program.screen == b"bimetal"
    assert program.call(Operation.ISTTY, handle) == 1
    assert program.call(Operation.CLOSE, handle) == 0
    assert program.call(Operation.CLOSE, handle) == -1
    assert program.errno == BADF


def test_a_long_output_comes_in_parts(program: Program) -> None:
    """The answer is how much is left to write."""
    handle = program.open(b":tt", 4)
    assert program.call(Operation.WRITE, handle, BUFFER, LIMIT + 100) == 100
    assert len(program.screen) == LIMIT


def test_a_string_without_an_end_is_cut(program: Program) -> None:
    program.bytes[BUFFER:] = b"x" * (SIZE - BUFFER)
    assert program.pass_on(Operation.WRITE0, BUFFER) == 0
    assert len(program.screen) == LIMIT


# -- input


def test_input_is_waited_for(program: Program) -> None:
    handle = program.open(b":tt")
    with pytest.raises(NotYet):
        program.pass_on(Operation.READC)
    with pytest.raises(NotYet):
        program.call(Operation.READ, handle, BUFFER, 10)
    program.typed = b"heat\r"
    assert program.pass_on(Operation.READC) == ord("h")
    assert program.call(Operation.READ, handle, BUFFER, 10) == 6
    assert program.memory.read(BUFFER, 4) == b"eat\n"  # as the text of a program has it


def test_nothing_is_taken_that_cannot_be_stored(program: Program) -> None:
    handle = program.open(b":tt")
    program.typed = b"stays"
    assert program.call(Operation.READ, handle, NOWHERE, 5) == 5
    assert program.errno == FAULT
    assert program.typed == b"stays"


@pytest.mark.parametrize(("mode", "operation"), [(0, Operation.WRITE), (4, Operation.READ)])
def test_a_handle_has_one_direction(program: Program, mode: int, operation: int) -> None:
    handle = program.open(b":tt", mode)
    program.typed = b"x"
    assert program.call(operation, handle, BUFFER, 3) == 3
    assert (program.errno, program.screen) == (BADF, b"")


# -- files


def test_the_features_are_a_file(program: Program) -> None:
    handle = program.open(b":semihosting-features")
    assert program.call(Operation.FLEN, handle) == 5
    assert program.call(Operation.ISTTY, handle) == 0
    assert program.call(Operation.READ, handle, BUFFER, 4) == 0
    assert program.memory.read(BUFFER, 4) == b"SHFB"
    assert program.call(Operation.READ, handle, BUFFER, 4) == 3
    assert program.bytes[BUFFER] == 3
    assert program.call(Operation.READ, handle, BUFFER, 4) == 4  # its end
    assert program.call(Operation.SEEK, handle, 4) == 0
    assert program.call(Operation.READ, handle, BUFFER + 9, 1) == 0
    assert program.bytes[BUFFER + 9] == 3
    assert program.call(Operation.SEEK, handle, 6) == -1


@pytest.mark.parametrize("name", [b"/etc/passwd", b"", b":tty", b"../x", b"\xff", b":TT"])
@pytest.mark.parametrize("mode", [0, 4, 8])
def test_no_file_of_the_host_is_opened(program: Program, name: bytes, mode: int) -> None:
    assert program.open(name, mode) == -1
    assert program.errno == ACCES


def test_nothing_else_is_done_to_the_host(program: Program) -> None:
    for operation in (Operation.REMOVE, Operation.RENAME, Operation.TMPNAM, Operation.SYSTEM):
        assert program.call(operation, BUFFER, 5, BUFFER, 5) == -1
        assert program.errno == ACCES


def test_a_console_has_no_place_and_no_length(program: Program) -> None:
    handle = program.open(b":tt")
    for words in ((Operation.SEEK, handle, 0), (Operation.FLEN, handle)):
        assert program.call(*words) == -1
        assert program.errno == SPIPE


@pytest.mark.parametrize("mode", [12, 1 << 63])
def test_modes_that_do_not_exist(program: Program, mode: int) -> None:
    assert program.open(b":tt", mode) == -1
    assert program.errno == INVAL


def test_handles_come_to_an_end_and_again(program: Program) -> None:
    handles = [program.open(b":tt") for _ in range(32)]
    assert len(set(handles)) == 32
    assert program.open(b":tt") == -1
    assert program.errno == MFILE
    assert program.call(Operation.CLOSE, handles[7]) == 0
    assert program.open(b":tt") == handles[7]


@pytest.mark.parametrize("operation", [Operation.CLOSE, Operation.ISTTY, Operation.FLEN])
def test_handles_that_are_not_open(program: Program, operation: int) -> None:
    assert program.call(operation, 1) == -1
    assert program.errno == BADF


# -- the end


@pytest.mark.parametrize("operation", [Operation.EXIT, Operation.EXIT_EXTENDED])
@pytest.mark.parametrize(("reason", "told", "code"), [(0x20026, 42, 42), (0x20023, 42, 1)])
def test_the_end(program: Program, operation: int, reason: int, told: int, code: int) -> None:
    program.call(operation, reason, told)
    assert program.codes == [code]


def test_an_end_for_a_reason_that_cannot_be_read_is_a_failure(program: Program) -> None:
    assert program.pass_on(Operation.EXIT, NOWHERE) == -1
    assert program.codes == [1]


# -- time and surroundings


def test_time(program: Program) -> None:
    program.clock.advance(12_345_678_901)
    assert program.pass_on(Operation.CLOCK) == 1234
    assert program.pass_on(Operation.TIME) == 1_000_000_012
    assert program.pass_on(Operation.ELAPSED, BUFFER) == 0
    assert program.word(BUFFER) == 12_345_678_901
    assert program.pass_on(Operation.TICKFREQ) == 10**9


def test_the_command_line(program: Program) -> None:
    assert program.call(Operation.GET_CMDLINE, BUFFER, 23) == 0
    assert program.memory.read(BUFFER, 23) == b"program with arguments\0"
    assert (program.word(BLOCK), program.word(BLOCK + 8)) == (BUFFER, 22)
    assert program.call(Operation.GET_CMDLINE, BUFFER, 22) == -1


def test_heap_and_stack(program: Program) -> None:
    program.call(Operation.HEAPINFO, BUFFER)
    assert [program.word(BUFFER + 8 * n) for n in range(4)] == [0x1000, 0x9000, 0x9000, 0x1000]


@pytest.mark.parametrize(("status", "is_error"), [(0, 0), (5, 0), ((1 << 64) - 1, 1)])
def test_what_is_an_error(program: Program, status: int, is_error: int) -> None:
    assert program.call(Operation.ISERROR, status) == is_error


# -- programs that ask for nonsense


@pytest.mark.parametrize("operation", [0, 0x0B, 0x14, 0x100, 0xFFFF_FFFF])
def test_operations_that_do_not_exist(program: Program, operation: int) -> None:
    assert program.pass_on(operation) == -1
    assert program.errno == NOSYS


numbers = st.one_of(
    st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 2, BLOCK, BUFFER, SIZE - 1, SIZE])
)


@given(st.integers(0, 0x40), st.lists(numbers, min_size=1, max_size=4), st.booleans())
def test_no_call_breaks_anything(operation: int, words: list[int], in_block: bool) -> None:
    program = Program()
    program.open(b":tt")
    program.open(b":tt", 4)
    program.typed = b"some input"
    try:
        if in_block:
            answer = program.call(operation, *words)
        else:
            answer = program.pass_on(operation, words[0])
    except NotYet:
        assert operation in (Operation.READ, Operation.READC)
    else:
        assert -(1 << 63) <= answer < 1 << 64
