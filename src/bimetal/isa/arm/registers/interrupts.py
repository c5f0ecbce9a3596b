"""Registers of a GICv3's CPU interface (IHI 0069H, 12.2), which a controller on the board has, if
there is one: an access leaves for it, and the instruction is complete but for what it reads.

Where EL2 has virtual interrupts for EL1 (HCR_EL2.IMO, FMO), EL1 would find a virtual interface
under these names (12.4). There is none: EL2 takes its accesses, and finds registers of that
interface (12.5) that read as zero and ignore writes.
"""

from __future__ import annotations

from ....ir.value import Value, const
from ...trace import Cpu, slowly
from ..syndromes import FMO, IMO, undefined
from ..sysregs import Encoding, controller_register, system_register

__all__: list[str] = []

SYSTEM_REGISTERS, NO_BYPASS, LOWER_LEVELS = 1, 3 << 1, 1 << 3  # of ICC_SRE_ELx: for ever


def _there(cpu: Cpu, writes: bool, iss: Value) -> None:
    """Without a controller there are no such registers."""
    with slowly(cpu.gic_there == 0):
        undefined(cpu)


def _describe() -> None:
    for group, trapped in ((0, FMO), (1, IMO)):
        crm = 12 if group else 8
        for name, place, access in (
            (f"icc_iar{group}_el1", (crm, 0), "r"),
            (f"icc_eoir{group}_el1", (crm, 1), "w"),
            (f"icc_hppir{group}_el1", (crm, 2), "r"),
            (f"icc_bpr{group}_el1", (crm, 3), "rw"),
            (f"icc_ap{group}r0_el1", (9, 0) if group else (8, 4), "rw"),
            (f"icc_igrpen{group}_el1", (12, 6 + group), "rw"),
        ):
            _own(name, (3, 0, 12, *place), access, trapped)
    for name, encoding, access in (
        ("icc_pmr_el1", (3, 0, 4, 6, 0), "rw"),
        ("icc_ctlr_el1", (3, 0, 12, 12, 4), "rw"),
        ("icc_dir_el1", (3, 0, 12, 11, 1), "w"),
        ("icc_rpr_el1", (3, 0, 12, 11, 3), "r"),
        ("icc_sgi1r_el1", (3, 0, 12, 11, 5), "w"),
        ("icc_asgi1r_el1", (3, 0, 12, 11, 6), "w"),
        ("icc_sgi0r_el1", (3, 0, 12, 11, 7), "w"),
    ):
        _own(name, encoding, access, IMO | FMO)


def _own(name: str, encoding: Encoding, access: str, trapped: int) -> None:
    controller_register(
        name, encoding, reads="r" in access, writes="w" in access, check=_there, trapped=trapped
    )


def _constant(name: str, encoding: Encoding, value: int = 0) -> None:
    def write(cpu: Cpu, value: Value) -> None:
        """It stays as it is."""

    system_register(name, encoding, lambda cpu: const(value, 64), write, check=_there)


_describe()
_constant("icc_sre_el1", (3, 0, 12, 12, 5), SYSTEM_REGISTERS | NO_BYPASS)
_constant("icc_sre_el2", (3, 4, 12, 9, 5), SYSTEM_REGISTERS | NO_BYPASS | LOWER_LEVELS)

for _name, _crm, _op2 in (
    ("hcr", 11, 0), ("vtr", 11, 1), ("misr", 11, 2), ("eisr", 11, 3), ("elrsr", 11, 5),
    ("vmcr", 11, 7), ("ap0r0", 8, 0), ("ap1r0", 9, 0),
):  # fmt: skip
    _constant(f"ich_{_name}_el2", (3, 4, 12, _crm, _op2))
