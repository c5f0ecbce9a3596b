"""PSCI, SMCCC and TRNG calls as conversations between a kernel and its machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.firmware.psci import SIXTY_FOUR, Function, Power, Psci, PsciError, Reset
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

RAM = 0x4000_0000
ALL = (1 << 64) - 1


class Machine:
    """Four CPUs in two clusters, the first of them on, that write down what they are told."""

    AFFINITIES = (0x000, 0x001, 0x100, 0x101)

    def __init__(self) -> None:
        self.told: list[object] = []
        self.powers = [Power.ON, Power.OFF, Power.OFF, Power.ON_PENDING]
        memory = AddressSpace()
        memory.add_memory(Ram("ram", 0x1000), RAM)
        self.psci = Psci(self, memory, lambda count: bytes(range(1, count + 1)))

    def number(self, affinity: int) -> int | None:
        return self.AFFINITIES.index(affinity) if affinity in self.AFFINITIES else None

    def power(self, cpu: int) -> Power:
        return self.powers[cpu]

    def start(self, cpu: int, address: int, argument: int) -> None:
        self.told.append(("start", cpu, address, argument))

    def stop(self, cpu: int) -> None:
        self.told.append(("stop", cpu))

    def suspend(self, cpu: int) -> None:
        self.told.append(("suspend", cpu))

    def reset(self, kind: Reset) -> None:
        self.told.append(kind)

    def call(self, function: int, *args: int, cpu: int = 0) -> int:
        """What comes back in x0, as a signed number."""
        answer = self.psci.call(cpu, (function, *args, *[0] * (7 - len(args))))[0]
        assert 0 <= answer <= ALL
        return answer - (1 << 64) if answer >> 63 else answer


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_versions(machine: Machine) -> None:
    assert machine.call(Function.PSCI_VERSION) == 0x1_0001
    assert machine.call(Function.SMCCC_VERSION) == 0x1_0001
    assert machine.call(Function.MIGRATE_INFO_TYPE) == 2


@pytest.mark.parametrize("function", [Function.CPU_ON, Function.CPU_ON | SIXTY_FOUR])
def test_a_cpu_is_switched_on(machine: Machine, function: int) -> None:
    assert machine.call(function, 0x100, RAM + 0x100, 42) == PsciError.SUCCESS
    assert machine.told == [("start", 2, RAM + 0x100, 42)]


@pytest.mark.parametrize(
    ("target", "address", "error"),
    [
        (0x000, RAM, PsciError.ALREADY_ON),
        (0x101, RAM, PsciError.ON_PENDING),
        (0x002, RAM, PsciError.INVALID_PARAMETERS),
        (ALL, RAM, PsciError.INVALID_PARAMETERS),
        (0x001, RAM + 2, PsciError.INVALID_ADDRESS),
        (0x001, RAM - 4, PsciError.INVALID_ADDRESS),
        (0x001, RAM + 0xFFD, PsciError.INVALID_ADDRESS),
        (0x001, ALL, PsciError.INVALID_ADDRESS),
    ],
)
def test_a_cpu_that_cannot_be_switched_on(
    machine: Machine, target: int, address: int, error: PsciError
) -> None:
    assert machine.call(Function.CPU_ON | SIXTY_FOUR, target, address, 0) == error
    assert machine.told == []


def test_arguments_of_calls_with_32_bits(machine: Machine) -> None:
    above = 0xABCD << 32
    assert machine.call(above | Function.CPU_ON, above | 1, above | RAM, above | 7) == 0
    assert machine.told == [("start", 1, RAM, 7)]


def test_a_cpu_switches_itself_off_or_waits(machine: Machine) -> None:
    assert machine.call(Function.CPU_OFF, cpu=1) == 0
    assert machine.call(Function.CPU_SUSPEND | SIXTY_FOUR, 0x1_0000, RAM, 5, cpu=1) == 0
    assert machine.call(Function.CPU_SUSPEND, 1 << 26) == PsciError.INVALID_PARAMETERS
    assert machine.told == [("stop", 1), ("suspend", 1)]


@pytest.mark.parametrize(
    ("target", "level", "answer"),
    [(0, 0, 0), (1, 0, 1), (0x101, 0, 2), (1, 1, 0), (5, 0, -2), (0, 4, -2)],
)
def test_who_is_on(machine: Machine, target: int, level: int, answer: int) -> None:
    assert machine.call(Function.AFFINITY_INFO | SIXTY_FOUR, target, level) == answer


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ((Function.SYSTEM_OFF,), Reset.OFF),
        ((Function.SYSTEM_RESET,), Reset.AGAIN),
        ((Function.SYSTEM_RESET2 | SIXTY_FOUR, 0, 0), Reset.AGAIN),
    ],
)
def test_the_end(machine: Machine, call: tuple[int, ...], kind: Reset) -> None:
    machine.call(*call)
    assert machine.told == [kind]


def test_no_kind_of_reset_but_the_warm_one(machine: Machine) -> None:
    assert machine.call(Function.SYSTEM_RESET2, 0x8000_0000) == PsciError.INVALID_PARAMETERS
    assert machine.told == []


def test_what_there_is(machine: Machine) -> None:
    for function in Function:
        assert machine.call(Function.PSCI_FEATURES, function) == 0, function
    for absent in (0x8400_0005, 0x8400_000E, 0xC400_0000, 0x8400_0007, 0, ALL):
        assert machine.call(Function.PSCI_FEATURES, absent) == PsciError.NOT_SUPPORTED
        assert machine.call(absent) == PsciError.NOT_SUPPORTED


@pytest.mark.parametrize("workaround", [0x8000_8000, 0x8000_7FFF, 0x8000_3FFF])
def test_nothing_has_to_be_worked_around(machine: Machine, workaround: int) -> None:
    assert machine.call(Function.ARCH_FEATURES, workaround) == 1
    assert machine.call(workaround) == 0
    assert machine.call(Function.ARCH_FEATURES, 0x8000_0002) == PsciError.NOT_SUPPORTED


def test_random_numbers(machine: Machine) -> None:
    number = int.from_bytes(bytes(range(1, 25)), "little")
    wide = Function.TRNG_RND | SIXTY_FOUR
    assert machine.call(Function.TRNG_VERSION) == 0x1_0000
    assert machine.psci.call(0, (wide, 192)) == (0, number >> 128, number >> 64 & ALL, number & ALL)
    assert machine.psci.call(0, (wide, 5)) == (0, 0, 0, 1)
    assert machine.psci.call(0, (Function.TRNG_RND, 33)) == (0, 0, 1, 0x0403_0201)
    for call in ((wide, 0), (wide, 193), (Function.TRNG_RND, 97)):
        assert machine.call(*call) == PsciError.INVALID_PARAMETERS


numbers = st.one_of(
    st.integers(0, ALL), st.sampled_from([0, 1, 0x100, RAM, RAM + 0xFFF, 1 << 31, ALL])
)


@given(st.sampled_from(Function), st.booleans(), st.lists(numbers, max_size=7))
def test_no_call_breaks_the_machine(function: int, wide: bool, args: list[int]) -> None:
    answer = Machine().psci.call(0, (function | wide * SIXTY_FOUR, *args))
    assert all(0 <= value <= ALL for value in answer)
