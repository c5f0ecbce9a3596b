"""Keys of pointer authentication (D17.2.15 and on), of 128 bits in two registers each."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu, slowly
from ..pauth import DA, DB, GA, IA, IB
from ..syndromes import EL1, SYSTEM, trap_to_el2
from ..sysregs import Encoding, system_register

__all__: list[str] = []

APK = 1 << 40  # of HCR_EL2: EL1 has its keys without a trap


def _own(cpu: Cpu, writes: bool, iss: Value) -> None:
    with slowly((cpu.el == EL1) & (cpu.el2_there == 1) & ((cpu.hcr & APK) == 0)):
        trap_to_el2(cpu, SYSTEM, iss)


def _half(name: str, encoding: Encoding, number: int) -> None:
    def write(cpu: Cpu, value: Value) -> None:
        cpu.pac_key[number] = value

    system_register(
        name, encoding, lambda cpu: cpu.pac_key[number], write, check=_own, extension="pauth"
    )


for _key, _name, _crm, _op2 in (
    (IA, "ia", 1, 0), (IB, "ib", 1, 2), (DA, "da", 2, 0), (DB, "db", 2, 2), (GA, "ga", 3, 0),
):  # fmt: skip
    for _upper, _end in enumerate(("lo", "hi")):
        _half(f"ap{_name}key{_end}_el1", (3, 0, 2, _crm, _op2 + _upper), 2 * _key + _upper)
