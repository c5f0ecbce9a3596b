"""SBI calls as conversations between a kernel and its machine."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.errors import GuestError
from bimetal.firmware.sbi import Extension, HartState, ResetType, Sbi, SbiError
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

RAM = 0x8000_0000
ALL = (1 << 64) - 1


class Machine:
    """Four harts, the first of them running, that write down what they are told."""

    count = 4

    def __init__(self) -> None:
        self.told: list[object] = []
        self.states = [HartState.STARTED] + [HartState.STOPPED] * 3
        self.pending = False
        self.screen = b""
        self.typed = b""
        self.memory = AddressSpace()
        self.memory.add_memory(Ram("ram", 0x1000), RAM)
        self.sbi = Sbi(self, self, self.memory)

    def state(self, hart: int) -> HartState:
        return self.states[hart]

    def start(self, hart: int, address: int, argument: int) -> None:
        self.told.append(("start", hart, address, argument))
        self.states[hart] = HartState.START_PENDING

    def stop(self, hart: int) -> None:
        self.told.append(("stop", hart))

    def resume(self, hart: int, address: int, argument: int) -> None:
        self.told.append(("resume", hart, address, argument))

    def suspend(self, hart: int) -> None:
        self.told.append(("suspend", hart))

    def interrupt(self, hart: int) -> None:
        self.told.append(("interrupt", hart))

    def clear_interrupt(self, hart: int) -> bool:
        self.told.append(("clear", hart))
        return self.pending

    def word(self, hart: int, address: int) -> int | None:
        """This kernel has mapped its memory to 0."""
        try:
            return int.from_bytes(self.memory.read(RAM + address, 8), "little")
        except GuestError:
            return None

    def set_timer(self, hart: int, ticks: int) -> None:
        self.told.append(("timer", hart, ticks))

    def fence(self, caller: int, harts: Iterable[int], *, code: bool) -> None:
        self.told.append(("fence", caller, list(harts), code))

    def reset(self, kind: ResetType, failed: bool) -> None:
        self.told.append((kind, failed))

    def write(self, data: bytes) -> None:
        self.screen += data

    def take(self, limit: int) -> bytes:
        taken, self.typed = self.typed[:limit], self.typed[limit:]
        return taken

    def call(self, extension: int, function: int, *args: int, hart: int = 0) -> tuple[int, ...]:
        """The results as signed numbers."""
        padded = (*args, *[0] * (6 - len(args)), function, extension)
        answer = self.sbi.call(hart, padded)
        assert all(0 <= value <= ALL for value in answer)
        return tuple(value - (1 << 64) if value >> 63 else value for value in answer)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_base(machine: Machine) -> None:
    assert machine.call(Extension.BASE, 0) == (0, 0x0200_0000)
    assert machine.call(Extension.BASE, 1) == (0, 0x424D_544C)
    assert machine.call(Extension.BASE, 2) == (0, 0x1_0000)
    for extension in Extension:
        assert machine.call(Extension.BASE, 3, extension) == (0, 1), extension
    assert machine.call(Extension.BASE, 3, 0x53555350) == (0, 0)
    for function in (4, 5, 6):
        assert machine.call(Extension.BASE, function) == (0, 0)


@pytest.mark.parametrize(
    "number", [(0x12345678, 0), (Extension.BASE, 7), (Extension.HSM, 4), (9, 0)]
)
def test_what_is_not_there_says_so(machine: Machine, number: tuple[int, int]) -> None:
    assert machine.call(*number) == (SbiError.NOT_SUPPORTED, 0)


def test_timer(machine: Machine) -> None:
    assert machine.call(Extension.TIME, 0, 12345, hart=2) == (0, 0)
    assert machine.call(Extension.LEGACY_SET_TIMER, 0, ALL) == (0,)
    assert machine.told == [("timer", 2, 12345), ("timer", 0, ALL)]


@pytest.mark.parametrize(
    ("mask", "base", "harts"),
    [
        (0b1010, 0, [1, 3]),
        (0b11, 2, [2, 3]),
        (0, ALL, [0, 1, 2, 3]),
        (0b101, ALL, [0, 1, 2, 3]),
        (0, 0, []),
    ],
)
def test_hart_masks(machine: Machine, mask: int, base: int, harts: list[int]) -> None:
    assert machine.call(Extension.IPI, 0, mask, base) == (0, 0)
    assert machine.told == [("interrupt", hart) for hart in harts]


@pytest.mark.parametrize(
    ("mask", "base"), [(0b1_0000, 0), (0b100, 2), (1, 4), (0, 4), (1, 1 << 63)]
)
@pytest.mark.parametrize("call", [(Extension.IPI, 0), (Extension.RFENCE, 0), (Extension.RFENCE, 1)])
def test_masks_of_harts_that_do_not_exist(
    machine: Machine, call: tuple[int, int], mask: int, base: int
) -> None:
    assert machine.call(*call, mask, base) == (SbiError.INVALID_PARAM, 0)
    assert machine.told == []


def test_remote_fences(machine: Machine) -> None:
    assert machine.call(Extension.RFENCE, 0, 0b110, 0, hart=3) == (0, 0)
    assert machine.call(Extension.RFENCE, 1, 0b1, 0, 0x1000, 0x2000) == (0, 0)
    assert machine.call(Extension.RFENCE, 2, 0, ALL, 0, ALL, 7) == (0, 0)
    assert machine.told == [
        ("fence", 3, [1, 2], True),
        ("fence", 0, [0], False),
        ("fence", 0, [0, 1, 2, 3], False),
    ]


def test_a_hart_is_started_once(machine: Machine) -> None:
    assert machine.call(Extension.HSM, 2, 1) == (0, HartState.STOPPED)
    assert machine.call(Extension.HSM, 0, 1, RAM + 0x100, 0xABC) == (0, 0)
    assert machine.told == [("start", 1, RAM + 0x100, 0xABC)]
    assert machine.call(Extension.HSM, 2, 1) == (0, HartState.START_PENDING)
    assert machine.call(Extension.HSM, 0, 1, RAM, 0) == (SbiError.ALREADY_STARTED, 0)
    for state in (HartState.STARTED, HartState.SUSPENDED):
        machine.states[1] = state
        assert machine.call(Extension.HSM, 0, 1, RAM, 0) == (SbiError.ALREADY_AVAILABLE, 0)


def test_harts_and_addresses_that_do_not_exist(machine: Machine) -> None:
    assert machine.call(Extension.HSM, 0, 4, RAM, 0) == (SbiError.INVALID_PARAM, 0)
    assert machine.call(Extension.HSM, 2, ALL) == (SbiError.INVALID_PARAM, 0)
    assert machine.call(Extension.HSM, 0, 1, 0x1000, 0) == (SbiError.INVALID_ADDRESS, 0)
    assert machine.call(Extension.HSM, 3, 0x8000_0000, 0, 0) == (SbiError.INVALID_ADDRESS, 0)
    assert machine.told == []


def test_stop(machine: Machine) -> None:
    machine.call(Extension.HSM, 1, hart=2)
    assert machine.told == [("stop", 2)]


@pytest.mark.parametrize("kind", [0, 1 << 32, 0xFFFF_FFFF << 32])
def test_suspension_that_keeps_registers(machine: Machine, kind: int) -> None:
    assert machine.call(Extension.HSM, 3, kind, 1, 2, hart=3) == (0, 0)
    assert machine.told == [("suspend", 3)]


@pytest.mark.parametrize("kind", [0x8000_0000, 0xFFFF_FFFF_8000_0000])
def test_suspension_that_ends_elsewhere(machine: Machine, kind: int) -> None:
    """The kind has 32 bits, and compilers extend their sign."""
    machine.call(Extension.HSM, 3, kind, RAM, 9, hart=1)
    assert machine.told == [("resume", 1, RAM, 9), ("suspend", 1)]


@pytest.mark.parametrize("kind", [1, 0x1000, 0x1000_0000, 0x8000_0001, 0x9000_0000, 0xFFFF_FFFF])
def test_suspensions_of_unknown_kinds(machine: Machine, kind: int) -> None:
    assert machine.call(Extension.HSM, 3, kind, RAM, 0) == (SbiError.INVALID_PARAM, 0)
    assert machine.told == []


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Extension.LEGACY_SEND_IPI, [("interrupt", 0), ("interrupt", 2)]),
        (Extension.LEGACY_FENCE_I, [("fence", 1, [0, 2], True)]),
        (Extension.LEGACY_SFENCE_VMA, [("fence", 1, [0, 2], False)]),
        (Extension.LEGACY_SFENCE_VMA_ASID, [("fence", 1, [0, 2], False)]),
    ],
)
def test_legacy_calls_for_other_harts(machine: Machine, call: int, told: list[object]) -> None:
    """The mask is in memory, and harts in it that there are not do not matter."""
    machine.memory.write(RAM + 0x20, (0xFF05).to_bytes(8, "little"))
    assert machine.call(call, 77, 0x20, 0x1000, 0x2000, 5, hart=1) == (0,)
    assert machine.told == told


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Extension.LEGACY_SEND_IPI, [("interrupt", hart) for hart in range(4)]),
        (Extension.LEGACY_FENCE_I, [("fence", 0, [0, 1, 2, 3], True)]),
        (Extension.LEGACY_SFENCE_VMA, [("fence", 0, [0, 1, 2, 3], False)]),
        (Extension.LEGACY_SFENCE_VMA_ASID, [("fence", 0, [0, 1, 2, 3], False)]),
    ],
)
def test_legacy_calls_without_a_mask_are_for_all(
    machine: Machine, call: int, told: list[object]
) -> None:
    assert machine.call(call, 0, 0) == (0,)
    assert machine.told == told


@pytest.mark.parametrize("call", [4, 5, 6, 7])
def test_legacy_calls_with_a_mask_that_is_not_there(machine: Machine, call: int) -> None:
    assert machine.call(call, 0, 0x10_0000) == (SbiError.INVALID_ADDRESS,)
    assert machine.told == []


@pytest.mark.parametrize("pending", [True, False])
def test_a_legacy_call_takes_an_interrupt_back(machine: Machine, pending: bool) -> None:
    machine.pending = pending
    assert machine.call(Extension.LEGACY_CLEAR_IPI, 0, hart=2) == (int(pending),)
    assert machine.told == [("clear", 2)]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((0, 0), (ResetType.SHUTDOWN, False)),
        ((0, 1), (ResetType.SHUTDOWN, True)),
        ((1, 0), (ResetType.COLD_REBOOT, False)),
        ((2, 0), (ResetType.WARM_REBOOT, False)),
        ((1 << 32, 1 << 40), (ResetType.SHUTDOWN, False)),
    ],
)
def test_system_reset(machine: Machine, args: tuple[int, int], told: object) -> None:
    machine.call(Extension.SRST, 0, *args)
    assert machine.told == [told]


@pytest.mark.parametrize("args", [(3, 0), (ALL, 0), (0, 2)])
def test_resets_of_unknown_kinds(machine: Machine, args: tuple[int, int]) -> None:
    assert machine.call(Extension.SRST, 0, *args) == (SbiError.INVALID_PARAM, 0)
    assert machine.told == []


def test_legacy_shutdown(machine: Machine) -> None:
    machine.call(Extension.LEGACY_SHUTDOWN, 0)
    assert machine.told == [(ResetType.SHUTDOWN, False)]


def test_console_output(machine: Machine) -> None:
    machine.memory.write(RAM + 0x10, b"two strips")
    assert machine.call(Extension.DBCN, 0, 10, RAM + 0x10, 0) == (0, 10)
    assert machine.call(Extension.DBCN, 2, 0x121) == (0, 0)
    assert machine.call(Extension.LEGACY_PUTCHAR, 0, 10) == (0,)
    assert machine.screen == b"two strips!\n"


def test_console_input(machine: Machine) -> None:
    assert machine.call(Extension.LEGACY_GETCHAR, 0) == (-1,)
    machine.typed = b"heat"
    assert machine.call(Extension.LEGACY_GETCHAR, 0) == (ord("h"),)
    assert machine.call(Extension.DBCN, 1, 0x100, RAM, 0) == (0, 3)
    assert machine.memory.read(RAM, 4) == b"eat\0"
    assert machine.call(Extension.DBCN, 1, 0x100, RAM, 0) == (0, 0)


@pytest.mark.parametrize(
    "args", [(1, 0, 0), (0x1001, RAM, 0), (1, RAM, 1), (16, RAM + 0xFF8, 0), (ALL, ALL, 0)]
)
def test_console_buffers_outside_of_memory(machine: Machine, args: tuple[int, int, int]) -> None:
    machine.typed = b"stays"
    assert machine.call(Extension.DBCN, 0, *args) == (SbiError.INVALID_PARAM, 0)
    assert machine.call(Extension.DBCN, 1, *args) == (SbiError.INVALID_PARAM, 0)
    assert machine.typed == b"stays"


numbers = st.one_of(
    st.integers(0, ALL), st.sampled_from([0, 1, 2, 4, RAM, RAM + 0xFFF, 1 << 31, ALL])
)


@given(st.lists(st.one_of(numbers, st.sampled_from(Extension)), min_size=8, max_size=8))
def test_no_call_breaks_the_machine(args: list[int]) -> None:
    machine = Machine()
    answer = machine.sbi.call(0, tuple(args))
    assert len(answer) in (1, 2)
    assert all(0 <= value <= ALL for value in answer)


@given(st.sampled_from(Extension), st.integers(0, 8), st.lists(numbers, max_size=6))
def test_no_argument_breaks_the_machine(extension: int, function: int, args: list[int]) -> None:
    Machine().call(extension, function, *args)
