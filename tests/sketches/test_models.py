"""Models that lack features: their instructions are undefined, whoever executes them."""

from __future__ import annotations

import pytest

from bimetal.isa.riscv import rv64

from .sketched import END, sketched

CODE, HANDLER = 0x1_0000, 0x1_2000
LOOP = ("addi t0, t0, -1", "{}", f"bne t0, zero, {CODE:#x}", "sd a0, 0(a5)")
ILLEGAL = 2
ENGINES = ("reference", "interp", "everything")


def program(line: str) -> bytes:
    code = b""
    for text in LOOP:
        code += rv64.assemble(text.format(line), CODE + len(code))
    return code


@pytest.mark.parametrize("model", ["rv64", "plain"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_model_lacks_is_illegal(engine: str, model: str) -> None:
    with sketched("rv64-models", engine, model) as machine:
        for line, lacking in (("andn a0, a1, a2", True), ("bset a0, a1, a2", False)):
            machine.begin(program(line), CODE, t0=20, a1=0xFF, a2=0x3F, a5=END, mtvec=HANDLER)
            machine.put(HANDLER, rv64.assemble("sd t0, 0(a5)"))
            stored = machine.finish()
            if lacking and model == "plain":
                assert (machine["mcause"], stored) == (ILLEGAL, 19)
                assert machine["mepc"] == CODE + 4
            else:
                assert stored == (0xC0 if lacking else 0xFF | 1 << 63)


def test_a_feature_is_known_by_its_extension() -> None:
    andn = rv64.assemble("andn a0, a1, a2")
    bit = 1 << rv64.features.index("zbb")
    word = int.from_bytes(andn, "little")
    assert rv64.decode(word, bit) is not None
    assert rv64.decode(word, ~bit) is None
