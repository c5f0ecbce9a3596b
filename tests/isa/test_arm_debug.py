"""Self-hosted debug of AArch64: breakpoints, watchpoints, software step, and who gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.isa.arm.features import BREAKPOINTS, DESCRIBED, WATCHPOINTS
from bimetal.isa.arm.models import MODELS
from bimetal.isa.arm.sysregs import REGISTERS
from bimetal.seam import Halt, Mmio
from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, LINKER, Run, assemble, run
from .debug_log import (
    BREAKPOINT,
    BRK,
    DATA,
    END,
    HANDLERS,
    KDE,
    LOG,
    LOWER,
    MDE,
    SAME,
    SS,
    STEP,
    SVC,
    WATCHPOINT,
    Record,
    begin,
    log,
)

pytestmark = programs(ASSEMBLER, LINKER)
engines = pytest.mark.parametrize("engine", ENGINES)


@engines
def test_a_breakpoint_stops_before_its_instruction(engine: str, tmp_path: Path) -> None:
    source = f"""{begin(KDE | MDE)}
        adr x20, here
        msr dbgbvr2_el1, x20
        mov x1, #{15 << 5 | 1 << 1 | 1}
        msr dbgbcr2_el1, x1
        isb
        mov x2, #0
        mov x3, #5
    again:
        add x2, x2, #1
    here:
        add x2, x2, #100          // is left out by the handler
        subs x3, x3, #1
        b.ne again
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        found = log(machine)
        assert [each.kind for each in found] == [(BREAKPOINT, SAME)] * 5
        assert {each.at for each in found} == {machine.x(20)}
        assert {each.syndrome & 0x1FF_FFFF for each in found} == {0x22}
        assert machine.x(2) == 5


@engines
@pytest.mark.parametrize(
    ("control", "mask"),
    [(MDE, 0), (KDE, 0), (KDE | MDE, 8)],
    ids=["KDE", "MDE", "PSTATE.D"],
)
def test_what_is_switched_off_stops_nothing(
    control: int, mask: int, engine: str, tmp_path: Path
) -> None:
    source = f"""{begin(control)}
        msr daifset, #{mask}
        adr x20, here
        msr dbgbvr0_el1, x20
        mov x1, #{15 << 5 | 1 << 1 | 1}
        msr dbgbcr0_el1, x1
        ldr x4, ={DATA}
        msr dbgwvr0_el1, x4
        mov x1, #{0xFF << 5 | 3 << 3 | 1 << 1 | 1}
        msr dbgwcr0_el1, x1
        isb
    here:
        str x1, [x4]
        msr daifclr, #8
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        assert log(machine) == []


WATCHED = {  # an access, what is watched of loads (1) and stores (2), how far behind it begins, WnR
    "ldr x1, [x4]": (1, 0, 0), "str x1, [x4]": (2, 0, 1), "ldr x2, [x4, #8]": (3, None, 0),
    "str w1, [x4, #-4]": (3, None, 1), "str x1, [x4, #-4]": (2, 0, 1),
    "strb w1, [x4, #3]": (2, 3, 1), "ldrb w1, [x4, #7]": (1, 7, 0),
    "ldr x1, [x4, #0]": (2, None, 0), "str x1, [x4, #0]": (1, None, 0),
    "stp x1, x2, [x4, #-8]": (2, 0, 1), "ldp x1, x2, [x4, #-8]": (1, 0, 0),
    "str q0, [x4, #-8]": (2, 0, 1), "ldr q0, [x4, #-15]": (1, 0, 0),
    "st1 {v0.4s, v1.4s}, [x5]": (2, 0, 1), "ld1 {v0.s}[1], [x4]": (1, 0, 0),
    "ldadd x1, x2, [x4]": (1, 0, 0), "ldadd x1, x2, [x4] ": (2, 0, 1),
    "ldset w1, w2, [x4]": (3, 0, 0), "cas x1, x2, [x4]": (2, 0, 1), "swp x1, x2, [x4]": (1, 0, 0),
    "ldxr x1, [x4]": (1, 0, 0), "stlr x1, [x4]": (2, 0, 1), "ldar w1, [x4]": (1, 0, 0),
    "dc zva, x4": (2, 0, 1), "ldtr x1, [x4]": (3, None, 0), "prfm pldl1keep, [x4]": (3, None, 0),
}  # fmt: skip


@engines
def test_watchpoints_stop_before_accesses_of_every_kind(engine: str, tmp_path: Path) -> None:
    tried = "".join(
        f"mov x1, #{0xFF << 5 | kinds << 3 | 1 << 1 | 1}\n msr dbgwcr1_el1, x1\n isb\n"
        f" mov x1, #{n}\n mov x29, x6\n {text}\n add x6, x6, #32\n"
        for n, (text, (kinds, _, _)) in enumerate(WATCHED.items())
    )
    source = f"""{begin(KDE | MDE)}
        ldr x4, ={DATA + 64}
        sub x5, x4, #20
        mov x6, x29
        msr dbgwvr1_el1, x4
        {tried}
        mov x29, x6
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        words = list(machine.memory(LOG, 32 * len(WATCHED)).cast("Q"))
        for n, (text, (_, behind, write)) in enumerate(WATCHED.items()):
            found = Record(words[4 * n : 4 * n + 4])
            if behind is None:
                assert found.syndrome == 0, text
                continue
            assert found.kind == (WATCHPOINT, SAME), text
            assert found.syndrome & 0x1FF_FFFF == 0x22 | write << 6, text
            assert found.far == DATA + 64 + behind, text
        stored = [*WATCHED].index("str x1, [x4, #0]")  # which is watched for loads alone
        assert int.from_bytes(machine.memory(DATA + 64, 8), "little") == stored


@engines
def test_of_maintenance_what_destroys_a_line_is_watched(engine: str, tmp_path: Path) -> None:
    """DC IVAC is a store to the line of the address that it is given, which is told (D2.10)."""
    tried = {  # how far behind what is watched, and what it is watched for
        ("dc ivac, x7", 0, 2): True, ("dc ivac, x7", 39, 2): True, ("dc ivac, x7", -24, 2): True,
        ("dc ivac, x7", 40, 2): False, ("dc ivac, x7", -25, 2): False, ("dc ivac, x7", 0, 1): False,
        ("dc cvac, x7", 0, 3): False, ("dc civac, x7", 0, 3): False, ("dc cvau, x7", 0, 3): False,
    }  # fmt: skip
    watched = DATA + 64 + 24
    made = "".join(
        f"mov x1, #{0xFF << 5 | kinds << 3 | 1 << 1 | 1}\n msr dbgwcr1_el1, x1\n isb\n"
        f" ldr x7, ={watched + behind}\n mov x29, x6\n {text}\n add x6, x6, #32\n"
        for text, behind, kinds in tried
    )
    source = f"""{begin(KDE | MDE)}
        ldr x4, ={watched}
        mov x6, x29
        msr dbgwvr1_el1, x4
        {made}
        mov x29, x6
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        words = list(machine.memory(LOG, 32 * len(tried)).cast("Q"))
        for n, ((text, behind, kinds), hit) in enumerate(tried.items()):
            found = Record(words[4 * n : 4 * n + 4])
            if not hit:
                assert found.syndrome == 0, (text, behind, kinds)
                continue
            assert found.kind == (WATCHPOINT, SAME), (text, behind)
            assert found.syndrome & 0x1FF_FFFF == 0x22 | 1 << 6 | 1 << 8
            assert found.far == watched + behind


@engines
@pytest.mark.parametrize(("name", "distance"), [("cpy", -8), ("cpy", 8), ("cpyf", -8)])
def test_a_copy_onto_itself_goes_on_behind_a_watchpoint(
    name: str, distance: int, engine: str, tmp_path: Path
) -> None:
    """What it has not told of as copied it has not overwritten: the debugger switches the
    watchpoint off, and the copy goes on."""
    size, place = 200, DATA + 0x100
    source = f"""
        .arch armv8.8-a+mops
        {begin(KDE | MDE)}
        adr x0, off
        msr vbar_el1, x0
        ldr x1, ={place}
        add x0, x1, #{distance}
        mov x2, #{size}
        add x4, x0, #96
        and x4, x4, #-8
        msr dbgwvr0_el1, x4
        mov x3, #{0xFF << 5 | 2 << 3 | 1 << 1 | 1}
        msr dbgwcr0_el1, x3
        mov x20, #0
        isb
        {name}p [x0]!, [x1]!, x2!
        {name}m [x0]!, [x1]!, x2!
        {name}e [x0]!, [x1]!, x2!
        wfi
        b .
        .balign 2048
    off:
        .space 512
        add x20, x20, #1
        mrs x21, esr_el1
        mrs x22, far_el1
        msr dbgwcr0_el1, xzr
        isb
        eret
        {HANDLERS}"""
    machine = Run(engine, assemble(source, tmp_path))
    content = bytearray(n % 251 for n in range(0x400))
    machine.memory(DATA, len(content))[:] = content
    machine.until_halt()
    moved = content[0x100 : 0x100 + size]
    content[0x100 + distance : 0x100 + distance + size] = moved
    assert (machine.x(20), machine.x(21) >> 26) == (1, WATCHPOINT + SAME)
    assert 0 <= machine.x(22) - (place + distance + 96 & -8) < 8
    assert machine.memory(DATA, len(content)) == content
    machine.close()


MASKS = {  # BAS or MASK of a watchpoint at DATA, and the bytes from there on that it covers
    (0, 0x0F): range(4), (0, 0xF0): range(4, 8), (0, 0x18): range(3, 5), (0, 0x80): range(7, 8),
    (3, 0xFF): range(8), (5, 0xFF): range(32), (13, 0xFF): range(8192),
}  # fmt: skip


@engines
@pytest.mark.parametrize(("mask", "select"), MASKS)
def test_watchpoints_cover_the_bytes_that_are_selected(
    mask: int, select: int, engine: str, tmp_path: Path
) -> None:
    places = [-1, *range(9), 31, 32, 4096, 8191, 8192]
    tried = "".join(
        f"mov x29, x6\n ldr x7, ={DATA + place}\n ldrb w1, [x7]\n add x6, x6, #32\n"
        for place in places
    )
    source = f"""{begin(KDE | MDE)}
        mov x6, x29
        ldr x4, ={DATA}
        msr dbgwvr0_el1, x4
        ldr x1, ={mask << 24 | select << 5 | 1 << 3 | 1 << 1 | 1}
        msr dbgwcr0_el1, x1
        isb
        {tried}
        mov x29, x6
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        words = list(machine.memory(LOG, 32 * len(places)).cast("Q"))
        hit = [place for n, place in enumerate(places) if words[4 * n]]
        assert hit == [place for place in places if place in MASKS[mask, select]]


USER = """
        mov x0, #{spsr}
        msr spsr_el1, x0
        adr x0, user
        msr elr_el1, x0
        eret
    user:
"""


@engines
def test_a_program_of_el0_is_stepped(engine: str, tmp_path: Path) -> None:
    source = f"""{begin(SS)}
        ldr x4, ={DATA}
        mov x25, #{1 << 21}
        mov x2, #3
        {USER.format(spsr=1 << 21)}
    loop:
        subs x2, x2, #1
        b.ne loop
        ldxr x1, [x4]
        udf #0
        str x1, [x4]
        adr x20, user
        svc #1
        mov x25, #0
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        found, user = log(machine), machine.x(20)
        kinds = [(each.kind, each.at - user) for each in found]
        stepped, undefined = (STEP, LOWER), (0, 0)
        assert kinds[:10] == [
            (stepped, 4), (stepped, 0), (stepped, 4), (stepped, 0), (stepped, 4), (stepped, 8),
            (stepped, 12), (undefined, 12), (stepped, 20), (stepped, 24),
        ]  # fmt: skip
        assert [each.syndrome & 0x1FF_FFFF for each in found[:7]] == [
            *[1 << 24 | 0x22] * 6, 1 << 24 | 1 << 6 | 0x22
        ]  # fmt: skip
        # The undefined instruction was not complete; the system call was.
        assert found[7].spsr >> 21 & 1 == 1
        call = next(each for each in found if each.syndrome >> 26 == SVC)
        assert call.spsr >> 21 & 1 == 0


@engines
def test_a_step_that_is_pending_at_once_has_stepped_nothing(engine: str, tmp_path: Path) -> None:
    source = f"""{begin(SS)}
        {USER.format(spsr=0)}
        adr x20, user
        mov x25, #0
        mov x26, #1
        svc #1
        {HANDLERS.replace("orr x12, x12, x25", "mov x11, #0x3c0; msr mdscr_el1, xzr")}"""
    with run(engine, source, tmp_path) as machine:
        (found,) = log(machine)
        assert (found.kind, found.at) == ((STEP, LOWER), machine.x(20))
        assert found.syndrome & 0x1FF_FFFF == 0x22


@engines
def test_who_looks_in_the_middle_of_a_step_does_not_change_it(engine: str, tmp_path: Path) -> None:
    source = f"""{begin(SS)}
        ldr x4, =0x9000000
        mov x25, #{1 << 21}
        {USER.format(spsr=1 << 21)}
        ldr x1, [x4]
        ldr x1, [x4]
        mov x25, #0
        {END}{HANDLERS}"""
    machine = Run(engine, assemble(source, tmp_path))
    try:
        machine.cpu.write_register("pc", BASE)
        answers = [True, False]
        while not isinstance(exit_ := machine.cpu.run(), Halt):
            if isinstance(exit_, Mmio):
                machine.cpu.write_register("x5", 5)
                exit_.fault = answers.pop(0)
        aborted, stepped = log(machine)[:2]
    finally:
        machine.close()
    assert (aborted.kind, aborted.spsr >> 21 & 1) == ((0x24, LOWER), 1)
    assert (stepped.kind, stepped.syndrome & 0x1FF_FFFF) == ((STEP, LOWER), 1 << 24 | 0x22)


@engines
def test_levels_and_contexts_decide_on_matches(engine: str, tmp_path: Path) -> None:
    breakpoint_ = 15 << 5 | 1
    tried = {  # PMC, HMC, SSC; and whether EL0 is stopped
        2 << 1: True, 3 << 1: True, 1 << 1: False, 2 << 1 | 1 << 14: True, 2 << 1 | 2 << 14: False,
        2 << 1 | 1 << 20 | 4 << 16: True, 2 << 1 | 1 << 20 | 5 << 16: False,
        2 << 1 | 1 << 20 | 1 << 16: False,
    }  # fmt: skip
    body = "".join(
        f"adr x7, 1f\n ldr x8, ={breakpoint_ | control}\n mov x29, x6\n svc #2\n"
        f" 1: mov x1, #{n}\n add x6, x6, #64\n"
        for n, control in enumerate(tried)
    )
    set_up = """
    called:
        msr dbgbvr0_el1, x7
        msr dbgbcr0_el1, x8
    """
    source = f"""{begin(MDE)}
        mov x6, x29
        mov x1, #77
        msr contextidr_el1, x1
        msr dbgbvr4_el1, x1
        mov x2, #78
        msr dbgbvr5_el1, x2
        ldr x1, ={3 << 20 | 3 << 1 | 1}
        msr dbgbcr4_el1, x1
        msr dbgbcr5_el1, x1
        msr dbgbcr1_el1, xzr
        {USER.format(spsr=0)}
        {body}
        mov x29, x6
        {END}{HANDLERS.replace("called:", set_up)}"""
    with run(engine, source, tmp_path) as machine:
        words = list(machine.memory(LOG, 64 * len(tried)).cast("Q"))
        kinds = [words[8 * n + 4] >> 26 for n in range(len(tried))]  # behind the call's
        assert [kind == BREAKPOINT for kind in kinds] == [*tried.values()]


@engines
def test_the_os_lock_is_closed_at_first(engine: str, tmp_path: Path) -> None:
    source = f"""
        mrs x20, oslsr_el1
        {begin(KDE | MDE)}
        mrs x21, oslsr_el1
        mov x1, #1
        msr oslar_el1, x1
        adr x2, here
        msr dbgbvr0_el1, x2
        mov x1, #{15 << 5 | 1 << 1 | 1}
        msr dbgbcr0_el1, x1
        isb
    here:
        nop
        {END}{HANDLERS}"""
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(20), machine.x(21)) == (10, 8)
        assert log(machine) == []


OF_EL2 = f"""
        adr x0, el2
        msr vbar_el2, x0
        adr x0, vectors
        msr vbar_el1, x0
        mov x0, #{1 << 8}
        msr mdcr_el2, x0
        mov x1, #{1 << 31}
        msr hcr_el2, x1
        msr oslar_el1, xzr
        mov x0, #{MDE}
        msr mdscr_el1, x0
        adr x2, here
        msr dbgbvr0_el1, x2
        mov x1, #{15 << 5 | 3 << 1 | 1}
        msr dbgbcr0_el1, x1
        ldr x29, ={LOG}
        mov x0, #5
        msr spsr_el2, x0
        adr x0, guest
        msr elr_el2, x0
        eret
    guest:
        nop
    here:
        nop
        brk #7
        mrs x3, mdscr_el1
        mrs x3, oslsr_el1
        mrs x3, mdrar_el1
        hvc #0
        .balign 2048
    el2:
        .rept 16
        .balign 128
        b taken
        .endr
    taken:
        mrs x9, esr_el2
        str x9, [x29], #8
        lsr x10, x9, #26
        cmp x10, #0x16
        b.eq 1f
        mrs x9, elr_el2
        add x9, x9, #4
        msr elr_el2, x9
        eret
    1:  wfi
        b 1b
    vectors:
        .ltorg
"""


@engines
def test_el2_takes_debug_exceptions_and_registers_if_it_asks(engine: str, tmp_path: Path) -> None:
    machine = Run(engine, assemble(OF_EL2, tmp_path), hypervisor=True)
    try:
        machine.until_halt()
        found = list(machine.memory(LOG, 8 * 6).cast("Q"))
    finally:
        machine.close()
    il = 1 << 25
    assert found[:2] == [BREAKPOINT << 26 | il | 0x22, BRK << 26 | il | 7]
    assert [each >> 26 for each in found[2:]] == [0x18, 0x18, 0x18, 0x16]


def test_there_are_as_many_as_is_said() -> None:
    fields = DESCRIBED["id_aa64dfr0_el1"]
    for name, field in (("dbgbvr", "BRPs"), ("dbgbcr", "BRPs"), ("dbgwvr", "WRPs")):
        assert len([each for each in REGISTERS if each.startswith(name)]) == fields[field][1] + 1
    assert (BREAKPOINTS, WATCHPOINTS) == (6, 4)
    for model in MODELS.values():
        assert model.says("id_aa64dfr0_el1") & 0xF0F0_FFFF == 0x1030_5106 & 0xF0F0_FFFF
