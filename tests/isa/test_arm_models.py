"""Processor models of AArch64: what they say is there, and that the rest is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bimetal.isa.arm import a64
from bimetal.isa.arm.architecture import architecture
from bimetal.isa.arm.features import DESCRIBED, IDENTIFICATION, NEEDS, place
from bimetal.isa.arm.models import MODELS, processor
from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, Run, assemble
from .arm_results import QEMU, qemus
from .test_arm_system import MEMORY, SETUP, TABLES, VECTORS

CORES = [model for model in MODELS if not model.startswith("max")]
ONLY_IF_ON = {"EL2", "GIC"}
"""Fields of what QEMU gives its machines only when asked to."""


@contextmanager
def ran(engine: str, model: str, source: str, folder: Path) -> Iterator[Run]:
    """A program that a vCPU of a model has run to its end."""
    machine = Run(engine, assemble(source, folder), model=model)
    try:
        machine.until_halt()
        yield machine
    finally:
        machine.close()


def identity(model: str, folder: Path) -> list[int]:
    """MIDR_EL1 and the identification registers of QEMU's model, from a program on its board."""
    names = ["midr_el1", *(f"s3_0_c0_c{crm}_{op2}" for crm, op2 in IDENTIFICATION.values())]
    told = "\n".join(f"mrs x1, {name}\n str x1, [x6], #8" for name in names)
    source = f"adr x6, results\n{told}\n"
    return qemus(source, len(names), folder, model, "virt,gic-version=3")


@programs(QEMU, ASSEMBLER, LINKER)
@pytest.mark.parametrize("model", CORES)
def test_no_model_says_more_than_qemus(model: str, tmp_path: Path) -> None:
    midr, *registers = identity(model, tmp_path)
    assert MODELS[model].midr == midr
    for name, theirs in zip(IDENTIFICATION, registers, strict=True):
        ours, core = MODELS[model].says(name), MODELS[model].core.get(name, 0)
        for field, (at, described) in DESCRIBED.get(name, {}).items():
            said = ours >> at & 15
            assert said <= described
            if field not in ONLY_IF_ON:
                assert said <= theirs >> at & 15, field
            assert said == min(described, core >> at & 15)


FIRST = {
    "bit_fields", "branches", "data_immediate", "data_register", "data_sources", "exceptions",
    "exclusives", "fp_convert", "fp_estimates", "fp_scalar", "fp_vector", "fp_vector_convert",
    "hints",
    "loads_stores", "maintenance", "pairs", "polynomials", "simd", "simd_element", "simd_long",
    "simd_moves", "simd_one", "simd_products", "simd_saturating_shifts", "simd_scalars",
    "simd_shifts", "structures", "system",
}  # fmt: skip
"""Chapters of the first version of the architecture, which every model has."""


def test_every_field_of_instructions_is_one_of_what_is_described() -> None:
    described = {insn.extension for insn in a64.insns}
    assert set(NEEDS) == described - FIRST
    floating, vectors = (DESCRIBED["id_aa64pfr0_el1"][name][1] for name in ("FP", "AdvSIMD"))
    assert floating == vectors == NEEDS["fp16"][2]
    for register in ("id_aa64isar0_el1", "id_aa64isar1_el1", "id_aa64isar2_el1"):
        for field, (_, says) in DESCRIBED[register].items():
            needed = [
                least
                for where, fields, least in NEEDS.values()
                if where == register and field in fields.split()
            ]
            assert max(needed, default=0) == says, field
    assert MODELS["max"].lacks == frozenset()


def test_physical_addresses_are_as_wide_as_the_cores() -> None:
    assert {name: architecture.processor(name).physical_bits for name in MODELS} == {
        "max": 52, "max,pauth-impdef=off": 52, "max,pauth=off": 52, "cortex-a53": 40,
        "cortex-a57": 44, "cortex-a72": 44, "cortex-a76": 40, "neoverse-n1": 48,
    }  # fmt: skip


FROM_8_1 = {
    "ldadd x0, x1, [x2]", "casp x0, x1, x2, x3, [x4]", "sqrdmlah v0.4s, v1.4s, v2.4s",
    "sqrdmlsh v0.4s, v1.4s, v2.s[1]", "ldapr x0, [x2]", "udot v0.4s, v1.16b, v2.16b",
    "mrs x0, pan", "msr pan, #1", "msr uao, #1", "dc cvap, x2", "at s1e1rp, x2",
    "fadd h0, h1, h2", "fmla v0.8h, v1.8h, v2.h[1]",
}  # fmt: skip
NEWER = {
    "ldapur x0, [x2]", "cfinv", "axflag", "frint32z s0, s1", "fjcvtzs w0, d1",
    "eor3 v0.16b, v1.16b, v2.16b, v3.16b", "sha512su0 v0.2d, v1.2d",
    "sm3ss1 v0.4s, v1.4s, v2.4s, v3.4s",
    "sm4e v0.4s, v1.4s", "usdot v0.4s, v1.16b, v2.16b", "mrs x0, rndr", "sb", "dc cvadp, x2",
    "cfp rctx, x0", "mrs x0, dit", "setp [x0]!, x1!, x2", "tlbi vae1os, x0",
    "tlbi rvae1is, x0",
    "pacia x0, x1", "xpacd x0", "pacga x0, x1, x2", "autdzb x0", "ldraa x0, [x2]",
    "mrs x0, apdakeyhi_el1",
    "fcadd v0.4s, v1.4s, v2.4s, #90", "fmlal v0.4s, v1.4h, v2.4h", "bfdot v0.4s, v1.8h, v2.8h",
}  # fmt: skip
EVERYWHERE = ("crc32x w0, w1, x2", "aese v0.16b, v1.16b", "pmull v0.1q, v1.1d, v2.1d",
              "sha256su0 v0.4s, v1.4s", "fmadd d0, d1, d2, d3")  # fmt: skip


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize("model", ["cortex-a53", "cortex-a76", "max"])
def test_what_a_model_lacks_is_undefined(engine: str, model: str, tmp_path: Path) -> None:
    lacking = {"cortex-a53": FROM_8_1 | NEWER, "cortex-a76": NEWER, "max": set()}[model]
    wanted = [*sorted(FROM_8_1 | NEWER), *EVERYWHERE]
    # Each leaves a bit in x11 if it was undefined, by a handler that goes on behind it.
    tried = "\n".join(
        f"mov x10, #1 << {n}\n adr x2, room\n mov x0, x2\n mov x1, #0\n mov x4, x2\n {text}"
        for n, text in enumerate(wanted)
    )
    source = f"""
        .arch armv8.6-a+crypto+sha3+sm4+mops+rng+memtag+fp16fml
        mov x9, #3 << 20
        msr cpacr_el1, x9
        mov x11, #0
        adr x9, vectors
        msr vbar_el1, x9
        {tried}
        wfi
        b .
        .balign 2048
    vectors:
        .space 512
        orr x11, x11, x10
        mrs x9, elr_el1
        add x9, x9, #4
        msr elr_el1, x9
        eret
        .balign 64
    room: .space 64
    """
    with ran(engine, model, source, tmp_path) as machine:
        undefined = {text for n, text in enumerate(wanted) if machine.x(11) >> n & 1}
    assert undefined == lacking


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_says_who_it_is(model: str, tmp_path: Path) -> None:
    source = "mrs x0, midr_el1\n mrs x1, id_aa64isar0_el1\n mrs x2, id_aa64mmfr0_el1\n wfi\n b .\n"
    with ran("reference", model, source, tmp_path) as machine:
        said = MODELS[model]
        assert machine.x(0) == said.midr
        assert machine.x(1) == said.says("id_aa64isar0_el1")
        assert machine.x(2) == said.says("id_aa64mmfr0_el1")


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize("model", ["cortex-a53", "max"])
def test_output_addresses_end_with_the_models(model: str, engine: str, tmp_path: Path) -> None:
    # Blocks of 1 GiB at 1 << 40, which TCR_EL1.IPS lets through, and at 1 << 45, which it does not.
    source = f"""{SETUP}{TABLES}
        mrs x2, tcr_el1
        mov x3, #4
        bfi x2, x3, #32, #3
        msr tcr_el1, x2
        adr x1, level1
        ldr x2, =(1 << 40) | 0x701
        str x2, [x1, #24]
        ldr x2, =(1 << 45) | 0x701
        str x2, [x1, #32]
        dsb sy
        isb
        mov x0, #0xC0000000
        ldr x1, [x0]
        mov x9, x21
        mov x0, #0x100000000
        ldr x1, [x0]
        mov x10, x21
        at s1e1r, x0
        mrs x11, par_el1
        wfi
        b .
        .ltorg
    {VECTORS}{MEMORY}
    """
    with ran(engine, model, source, tmp_path) as machine:
        external, size = 0x9600_0010, 0x9600_0001  # of level 1
        assert machine.x(9) == (size if model == "cortex-a53" else external)
        assert (machine.x(10), machine.x(11) & 0x7F) == (size, 1 << 1 | 1)


@pytest.mark.parametrize(
    ("model", "gone", "fields"),
    [
        ("max,-lse", {"lse"}, {"Atomic": 0}),
        ("max,-pmull", {"pmull"}, {"AES": 1}),
        ("max,-aes,-pmull", {"aes", "pmull"}, {"AES": 0}),
        ("max,+lse,-fp16", {"fp16", "fhm"}, {"FP": 0, "AdvSIMD": 0, "FHM": 0}),
        ("max,-pauth", {"pauth", "pacga"}, {"APA": 0, "API": 0, "GPI": 0}),
        ("max, -sha1", {"sha1", "sha256", "sha512", "sha3"}, {"SHA1": 0, "SHA2": 0, "SHA3": 0}),
        ("max,pauth=off,-pan", {"pauth", "pacga", "pan", "pan2"}, {"PAN": 0, "APA": 0}),
        ("cortex-a53,-lse", MODELS["cortex-a53"].lacks, {"Atomic": 0, "CRC32": 1}),
    ],
)
def test_features_are_taken_away_and_no_more_claimed(
    model: str, gone: set[str], fields: dict[str, int]
) -> None:
    made = processor(model)
    assert made.lacks == gone
    for name, value in fields.items():
        register, at = place(name)
        assert made.says(register) >> at & 15 == value


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES[:3])
def test_what_is_taken_away_is_undefined(engine: str, tmp_path: Path) -> None:
    source = """
        mrs x12, id_aa64isar0_el1
        adr x9, vectors
        msr vbar_el1, x9
        mov x11, #0
        adr x2, room
        ldadd x0, x1, [x2]
        crc32x w0, w1, x2
        casal x0, x1, [x2]
        wfi
        b .
    room:
        .quad 0
        .balign 2048
    vectors:
        .space 512
        add x11, x11, #1
        mrs x9, elr_el1
        add x9, x9, #4
        msr elr_el1, x9
        eret
    """
    with ran(engine, "max,-lse", source, tmp_path) as machine:
        assert machine.x(11) == 2
        assert machine.x(12) >> 20 & 15 == 0
