"""TLB maintenance (C5.5): which translations an instruction TLBI has vCPUs forget."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, select
from ...trace import Cpu, when
from ..spaces import ASIDS, REGIME, REGIME_EL1, REGIME_EL2, SHARED, VMIDS, own_space, vmid
from ..syndromes import E2H, EL1, EL2
from ..tables import may_be_wide
from .maintenance import OF_DOMAIN, TRANSLATIONS, TTLB, Act, broadcasts, system_instruction

Match = Callable[[Cpu, Value], tuple[Value, Value, Value]]
"""Mask and match of the address spaces that a TLBI names (D8.17), and the bits that must match in
addition for pages that are not global."""
Where = Callable[[Cpu, Value], tuple[Value, Value]]
"""The first address that it names, and the number of 4 KiB pages."""
Asked = Callable[[Cpu], Value]
"""Whether the control register of a regime asks for descriptors of 52-bit addresses (DS)."""


def _own(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """All of the current VMID, or the host's."""
    space = own_space(cpu)
    mask = select(space == REGIME, const(REGIME, 64), REGIME | VMIDS)
    return mask, space, mask


def _own_control(cpu: Cpu, space: Value) -> Value:
    """TCR_ELx of what `own_space` names."""
    control: Value = select(space == REGIME, cpu.tcr_el[EL2], cpu.tcr_el[EL1])
    return control


def _own_asid(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """Those of one ASID, and global pages."""
    mask, space, _ = _own(cpu, value)
    wide = _own_control(cpu, space)[36] == 1
    asid = value.lsr(48) & select(wide, const(ASIDS, 64), 0xFF)
    return mask, space | asid, mask | ASIDS | SHARED


def _alone_asid(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """Those of one ASID. Global pages need not be invalidated, so shared TLBs stay as they are."""
    _, match, own = _own_asid(cpu, value)
    return own, match, own


def _el1(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """Those of EL1 and EL0 with any VMID."""
    return const(REGIME, 64), const(REGIME_EL1, 64), const(REGIME, 64)


def _guest(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """Those of EL1 and EL0 with the current VMID."""
    mask = const(REGIME | VMIDS, 64)
    return mask, vmid(cpu) | REGIME_EL1, mask


def _el2(cpu: Cpu, value: Value) -> tuple[Value, Value, Value]:
    """Those of EL2, with or without an EL0 of its own."""
    return const(REGIME_EL2, 64), const(REGIME_EL2, 64), const(REGIME_EL2, 64)


def _page(cpu: Cpu, value: Value) -> tuple[Value, Value]:
    """The page VA[55:12]. TLBs in which it may be part of a larger page are flushed as a whole."""
    return (value << 20).asr(8), const(1, 64)


def _own_wide(cpu: Cpu) -> Value:
    return _own_control(cpu, own_space(cpu))[59] == 1


def _el2_wide(cpu: Cpu) -> Value:
    """Where it stands depends on whether there are two ranges of addresses (D17.2.131)."""
    control, two = cpu.tcr_el[EL2], (cpu.hcr & E2H) != 0
    return select(two, control[59], control[32]) == 1


def _range(asked: Asked) -> Where:
    """The range by BaseADDR, NUM, SCALE and TG (D8.17.5); everything, if TG is reserved. With
    descriptors of 52-bit addresses BaseADDR counts 64 KiB, whatever the granule."""

    def where(cpu: Cpu, value: Value) -> tuple[Value, Value]:
        grain = value.lsr(46) & 3
        above = select(grain == 0, const(40, 64), (grain - 1) << 1)  # log2 of a page by 4 KiB
        pages = ((value.lsr(39) & 31) + 1) << (value.lsr(44) & 3) * 5 + 1
        unit = select(asked(cpu) & may_be_wide(cpu, above + 12), const(4, 64), above)
        first = (value << 27).asr(27) << 12 << unit
        return select(grain == 0, const(0, 64), first), pages << above

    return where


_OWN_RANGE, _EL2_RANGE = _range(_own_wide), _range(_el2_wide)


def _forgetting(match: Match, where: Where | None, everywhere: bool) -> Act:
    """Carry out a TLBI: with the inner (IS) or outer (OS) domain on all vCPUs."""

    def act(cpu: Cpu, value: Value) -> None:
        spaces, nowhere = match(cpu, value), const(0, 64)
        first, pages = where(cpu, value) if where else (nowhere, nowhere)
        if where:
            cpu.host("flush_pages", 0, first, pages, *spaces)
        else:
            cpu.host("flush_spaces", 0, *spaces[:2])
        with when(const(1, 1) if everywhere else broadcasts(cpu)), when(cpu.host("shared", 1) == 1):
            cpu.host("tell_pages", 0, first, pages, *spaces)
            cpu.owed = cpu.owed | TRANSLATIONS
        cpu.sync()

    return act


_TLBI: dict[tuple[int, int], tuple[str, Match, Where | None]] = {
    (0, 0): ("vmalle1", _own, None),
    (0, 1): ("vae1", _own_asid, _page),
    (0, 2): ("aside1", _alone_asid, None),
    (0, 3): ("vaae1", _own, _page),
    (0, 5): ("vale1", _own_asid, _page),
    (0, 7): ("vaale1", _own, _page),
    (4, 0): ("alle2", _el2, None),
    (4, 1): ("vae2", _el2, _page),
    (4, 4): ("alle1", _el1, None),
    (4, 5): ("vale2", _el2, _page),
    (4, 6): ("vmalls12e1", _guest, None),
}
_ALONE = {"vmalle1", "alle2", "alle1", "vmalls12e1"}
_RANGES: dict[tuple[int, int], tuple[str, Match, Where | None]] = {
    (0, 1): ("rvae1", _own_asid, _OWN_RANGE),
    (0, 3): ("rvaae1", _own, _OWN_RANGE),
    (0, 5): ("rvale1", _own_asid, _OWN_RANGE),
    (0, 7): ("rvaale1", _own, _OWN_RANGE),
    (4, 1): ("rvae2", _el2, _EL2_RANGE),
    (4, 5): ("rvale2", _el2, _EL2_RANGE),
}
_STAGE_2 = {
    ("", 4): (("ipas2e1", 1), ("ipas2le1", 5), ("ripas2e1", 2), ("ripas2le1", 6)),
    ("is", 0): (("ipas2e1", 1), ("ipas2le1", 5), ("ripas2e1", 2), ("ripas2le1", 6)),
    ("os", 4): (("ipas2e1", 0), ("ipas2le1", 4), ("ripas2e1", 3), ("ripas2le1", 7)),
}
"""By domain and CRm. Cached translations combine both stages, so those by intermediate address
flush all that may contain it."""


def _forgets(
    name: str, suffix: str, place: tuple[int, int, int], match: Match, where: Where | None
) -> None:
    """TLBI, in a domain: op1, CRm, op2; and the same without waiting for accesses of XS."""
    op1, crm, op2 = place
    usual = "tlbirange" if name.startswith("r") else "tlbios" if suffix == "os" else ""
    for crn, waits, extension in ((8, "", usual), (9, "nxs", "xs")):
        system_instruction(
            f"tlbi {name}{suffix}{waits}",
            (op1, crn, crm, op2),
            name not in _ALONE,
            trapped=0 if op1 else TTLB | OF_DOMAIN[suffix],
            extension=extension,
        )(_forgetting(match, where, everywhere=bool(suffix)))


for _table, _domains in (
    (_TLBI, ((7, ""), (3, "is"), (1, "os"))), (_RANGES, ((6, ""), (2, "is"), (5, "os"))),
):  # fmt: skip
    for _crm, _suffix in _domains:
        for (_op1, _op2), (_name, _match, _where) in _table.items():
            _forgets(_name, _suffix, (_op1, _crm, _op2), _match, _where)
for (_suffix, _crm), _names in _STAGE_2.items():
    for _name, _op2 in _names:
        _forgets(_name, _suffix, (4, _crm, _op2), _guest, None)
