"""The profile of a guest whose functions take known shares of its instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bimetal import BimetalError, Machine
from bimetal.accel.script import ScriptAccelerator
from bimetal.isa.arm import a64
from bimetal.isa.describe import Isa
from bimetal.isa.riscv import rv64
from bimetal.machine.profile import GuestProfile
from tests.boot.bare import write_program

LIMIT = 60
SAMPLES = 3000
TOLERANCE = 3
"""Percent by which a share may be off: six standard deviations of that many samples."""

LONG, SHORT = 30, 10
"""Instructions of the two functions, besides their return."""

FUNCTIONS_AT, SHORT_AT = 12, 12 + 4 * (LONG + 1)
LAP = 3 + LONG + 1 + SHORT + 1
SHARES = {"main": 300 / LAP, "long": 100 * (LONG + 1) / LAP, "short": 100 * (SHORT + 1) / LAP}


@dataclass(frozen=True, slots=True)
class Guest:
    """A board, and how its instruction set says what the guest does."""

    board: str
    isa: Isa
    elf_machine: int
    base: int
    mode: str
    user: str
    call: str
    jump: str
    add: tuple[str, str]
    leave: str
    to_user: tuple[str, ...]
    """What leads to user mode, and there to the second page."""

    def write(self, path: Path, *lines: str | bytes) -> Path:
        return write_program(path, *lines, machine=self.elf_machine, isa=self.isa, base=self.base)

    def functions(self, path: Path) -> Path:
        """A program that calls two functions again and again."""
        calls = (self.call.format(self.base + at) for at in (FUNCTIONS_AT, SHORT_AT))
        first, second = self.add
        functions = (*[first] * LONG, self.leave, *[second] * SHORT, self.leave)
        return self.write(path, *calls, self.jump.format(self.base), *functions)

    def names(self) -> str:
        """Its symbols, as a System.map has them."""
        places = {"T main": 0, "T long": FUNCTIONS_AT, "t short": SHORT_AT, "B end": 4 * LAP}
        return "".join(f"{self.base + at:016x} {name}\n" for name, at in places.items())


GUESTS = {
    "riscv": Guest(
        "riscv-virt", rv64, 243, 0x8000_0000, "machine", "user",
        call="jal ra, {:#x}", jump="jal zero, {:#x}",
        add=("addi a0, a0, 1", "addi a1, a1, 1"), leave="jalr zero, 0(ra)",
        to_user=(
            "addi t0, zero, -1",
            "csrrw zero, pmpaddr0, t0",
            "csrrwi zero, pmpcfg0, 0x1f",  # all of memory, by a region that is a power of two
            "auipc t0, 1",
            "csrrw zero, mepc, t0",
            "csrrw zero, mstatus, zero",  # MPP is user mode
            "mret",
        ),
    ),
    "arm": Guest(
        "arm-virt", a64, 183, 0x4008_0000, "EL1", "EL0",
        call="bl {:#x}", jump="b {:#x}",
        add=("add x0, x0, 1", "add x1, x1, 1"), leave="ret x30",
        to_user=("adr x0, 0x4008100c", "msr elr_el1, x0", "msr spsr_el1, xzr", "eret"),
    ),
}  # fmt: skip


@pytest.fixture(params=GUESTS)
def guest(request: pytest.FixtureRequest) -> Guest:
    return GUESTS[request.param]


def seen(
    vm: Machine, enough: Callable[[GuestProfile], bool], symbols: tuple[Path, ...] = ()
) -> GuestProfile:
    """The profile of a machine that runs on and on, once it shows enough; then it is stopped."""
    vm.start_profile(symbols)
    vm.start()
    for _ in range(LIMIT * 20):
        if enough(vm.profile()):
            break
        with pytest.raises(TimeoutError):
            vm.wait(0.05)
    vm.stop()
    return vm.profile()


def in_tier(profile: GuestProfile, tier: str) -> Counter[str]:
    """Samples by function, of one tier."""
    return Counter({row.symbol: row.samples for row in profile.rows if row.tier == tier})


@pytest.mark.parametrize(("accel", "tier"), [("interp", "interpreted"), ("jit", "translated")])
def test_functions_have_their_shares(tmp_path: Path, guest: Guest, accel: str, tier: str) -> None:
    program = guest.functions(tmp_path / "shares.elf")
    names = tmp_path / "System.map"
    names.write_text(guest.names())
    with Machine(guest.board, kernel=program, bios="none", memory="16M", accel=accel) as vm:
        profile = seen(vm, lambda now: in_tier(now, tier).total() > SAMPLES, (names,))
        counted = vm.counters()["cpu0"]
    counts = in_tier(profile, tier)
    found = {name: 100 * count / counts.total() for name, count in counts.items()}
    assert found == {name: pytest.approx(share, abs=TOLERANCE) for name, share in SHARES.items()}
    assert {(row.mode, row.object) for row in profile.rows} == {(guest.mode, "System.map")}
    # The same samples tell how many instructions each tier did.
    share = counted.get("translated (estimate)", 0) / counted["instructions"]
    assert share == pytest.approx(in_tier(profile, "translated").total() / profile.samples, abs=0.1)
    assert profile.samples == sum(row.samples for row in profile.rows)
    assert sum(row.percent for row in profile.rows) == pytest.approx(100)


def test_code_without_names_is_summed_by_page(tmp_path: Path, guest: Guest) -> None:
    room = bytes(0x100C - 4 * len(guest.to_user))
    spin = guest.jump.format(guest.base + 0x100C)
    program = guest.write(tmp_path / "user.elf", *guest.to_user, room, spin)
    with Machine(guest.board, kernel=program, bios="none", memory="16M", accel="interp") as vm:
        profile = seen(vm, lambda profile: profile.samples > 10)
    (row,) = profile.rows
    assert (row.mode, row.object, row.symbol) == (guest.user, "[user]", f"{guest.base + 0x1000:#x}")
    assert row.percent == 100


def test_an_accelerator_without_samples(tmp_path: Path) -> None:
    program = GUESTS["riscv"].functions(tmp_path / "shares.elf")
    with (
        Machine(kernel=program, bios="none", accel=ScriptAccelerator()) as vm,
        pytest.raises(BimetalError, match="script takes no samples"),
    ):
        vm.start_profile()
