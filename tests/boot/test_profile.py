"""The profile of a guest whose functions take known shares of its instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import BimetalError, Machine
from bimetal.accel.script import ScriptAccelerator
from bimetal.isa.riscv import rv64
from bimetal.machine.profile import GuestProfile
from tests.boot.bare import BASE, write_program

LIMIT = 60
SAMPLES = 3000
TOLERANCE = 3
"""Percent by which a share may be off: six standard deviations of that many samples."""

LONG, SHORT = 30, 10
"""Instructions of the two functions, besides their return."""

LONG_AT = BASE + 12
SHORT_AT = LONG_AT + 4 * (LONG + 1)
END_AT = SHORT_AT + 4 * (SHORT + 1)
MAIN = (f"jal ra, {LONG_AT:#x}", f"jal ra, {SHORT_AT:#x}", f"jal zero, {BASE:#x}")
FUNCTIONS = (
    *(["addi a0, a0, 1"] * LONG + ["jalr zero, 0(ra)"]),
    *(["addi a1, a1, 1"] * SHORT + ["jalr zero, 0(ra)"]),
)
LAP = len(MAIN) + len(FUNCTIONS)
SHARES = {"main": 300 / LAP, "long": 100 * (LONG + 1) / LAP, "short": 100 * (SHORT + 1) / LAP}

TO_USER_MODE = (
    "addi t0, zero, -1",
    "csrrw zero, pmpaddr0, t0",
    "csrrwi zero, pmpcfg0, 0x1f",  # all of memory, by a region that is a power of two
    "auipc t0, 1",
    "csrrw zero, mepc, t0",
    "csrrw zero, mstatus, zero",  # MPP is user mode
    "mret",
)


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
def test_functions_have_their_shares(tmp_path: Path, accel: str, tier: str) -> None:
    program = write_program(tmp_path / "shares.elf", *MAIN, *FUNCTIONS)
    names = tmp_path / "System.map"
    names.write_text(
        f"{BASE:016x} T main\n{LONG_AT:016x} T long\n{SHORT_AT:016x} t short\n{END_AT:x} B end\n"
    )
    with Machine(kernel=program, bios="none", memory="16M", accel=accel) as vm:
        profile = seen(vm, lambda now: in_tier(now, tier).total() > SAMPLES, (names,))
        counted = vm.counters()["cpu0"]
    counts = in_tier(profile, tier)
    found = {name: 100 * count / counts.total() for name, count in counts.items()}
    assert found == {name: pytest.approx(share, abs=TOLERANCE) for name, share in SHARES.items()}
    assert {(row.mode, row.object) for row in profile.rows} == {("machine", "System.map")}
    # The same samples tell how many instructions each tier did.
    share = counted.get("translated (estimate)", 0) / counted["instructions"]
    assert share == pytest.approx(in_tier(profile, "translated").total() / profile.samples, abs=0.1)
    assert profile.samples == sum(row.samples for row in profile.rows)
    assert sum(row.percent for row in profile.rows) == pytest.approx(100)


def test_code_without_names_is_summed_by_page(tmp_path: Path) -> None:
    spin = rv64.assemble("jal zero, 0")
    start = b"".join(rv64.assemble(line) for line in TO_USER_MODE)
    program = write_program(tmp_path / "user.elf", start.ljust(0x100C, b"\0"), spin)
    with Machine(kernel=program, bios="none", memory="16M", accel="interp") as vm:
        profile = seen(vm, lambda profile: profile.samples > 10)
    (row,) = profile.rows
    assert (row.mode, row.object, row.symbol) == ("user", "[user]", f"{BASE + 0x1000:#x}")
    assert row.percent == 100


def test_an_accelerator_without_samples(tmp_path: Path) -> None:
    program = write_program(tmp_path / "shares.elf", *MAIN, *FUNCTIONS)
    with (
        Machine(kernel=program, bios="none", accel=ScriptAccelerator()) as vm,
        pytest.raises(BimetalError, match="script takes no samples"),
    ):
        vm.start_profile()
