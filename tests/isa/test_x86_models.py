"""Processor models of x86: what they tell is there, and what is not there is undefined."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bimetal.accel.choose import described
from bimetal.base.errors import BimetalError
from bimetal.isa.x86 import x86
from bimetal.isa.x86.architecture import architecture
from bimetal.isa.x86.extensions import BUILT_ON, DESCRIBED, EXTENSIONS
from bimetal.isa.x86.features import FEATURES
from bimetal.isa.x86.identity import LEAVES, words
from bimetal.isa.x86.models import ABSENT, AMD, LEVELS, MODELS, processor
from tests.host import programs
from tests.sketches.sketched import sketched

from .x86_long import LOW_PD, PDPT, begin_long, handler, log
from .x86_machine import CODE, X86Machine, assemble
from .x86_models import (
    BUFFER,
    KERNEL,
    QEMU,
    QEMU_USER,
    USER,
    expansions,
    has,
    tcg,
    undefined_in_qemu,
)

NAMED = [name for name in MODELS if name != "max" and name not in LEVELS]
ENGINES = (
    "reference",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("interp", "everything", "runs")),
)
BY_MODEL = (
    "qemu64", "Nehalem", "SandyBridge", "Haswell-noTSX", "EPYC", "x86-64-v2", "max", "max,-avx",
    "Nehalem,+avx2,-sse3",
)  # fmt: skip


HIGH_PD = 0xC000


@contextmanager
def made(engine: str, model: str) -> Iterator[X86Machine]:
    with sketched("x86_64", engine, model) as there:
        yield X86Machine(there.engine, there.cpu, there.ram)


def begin(machine: X86Machine, text: str, handle: Callable[[int], str] = handler) -> None:
    """Put a program of a kernel into memory, without pages of a gigabyte, or of users."""
    begin_long(machine, text, handle=handle)
    machine.put(PDPT + 8, struct.pack("<Q", HIGH_PD | 7))
    machine.put(HIGH_PD, struct.pack("<Q", 0x4000_0083))
    machine.put(LOW_PD, struct.pack("<Q", 0x83))


# -- what there is


LEFT_OUT = {
    *("mce", "mca"),
    *("svm", "cr8_legacy", "sse4a", "misalignsse", "osvw", "topoext", "mmxext", "fxsr_opt"),
}
"""What QEMU's have and ours have not, as it is not described: reports of the machine's errors; of
AMD's, virtualization, TPR by CR8 in 32-bit code, SSE4A, misaligned operands, errata, topology,
those of SSE's instructions that they had first, and a shorter FXSAVE."""


@programs(QEMU)
@pytest.mark.parametrize("name", NAMED)
def test_a_named_model_has_what_qemus_has(name: str) -> None:
    theirs, model = expansions(*NAMED)[name], MODELS[name]
    assert model.features == has(theirs) & DESCRIBED
    assert has(theirs) & FEATURES.keys() - DESCRIBED <= LEFT_OUT
    assert model.version == (theirs["family"], theirs["model"], theirs["stepping"])
    assert (model.vendor.decode(), model.brand) == (theirs["vendor"], theirs["model-id"])


COMPILERS = {
    "cmov": "", "cx8": "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8", "fpu": "", "fxsr": "__FXSR__",
    "mmx": "__MMX__", "sse": "__SSE__", "sse2": "__SSE2__", "syscall": "", "lm": "__x86_64__",
    "cx16": "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16", "lahf_lm": "__LAHF_SAHF__",
    "popcnt": "__POPCNT__", "sse3": "__SSE3__", "sse4_1": "__SSE4_1__", "sse4_2": "__SSE4_2__",
    "ssse3": "__SSSE3__", "avx": "__AVX__", "avx2": "__AVX2__", "bmi1": "__BMI__",
    "bmi2": "__BMI2__", "f16c": "__F16C__", "fma": "__FMA__", "abm": "__LZCNT__",
    "movbe": "__MOVBE__", "xsave": "__XSAVE__",
}  # fmt: skip
"""The macros by which a compiler says that it uses a feature, where it has one."""
OTHER_MACROS = {
    "aes": "__AES__", "pclmulqdq": "__PCLMUL__", "rdrand": "__RDRND__", "rdseed": "__RDSEED__",
    "adx": "__ADX__", "sha_ni": "__SHA__", "gfni": "__GFNI__", "vaes": "__VAES__",
    "vpclmulqdq": "__VPCLMULQDQ__", "xsavec": "__XSAVEC__", "clwb": "__CLWB__",
    "clflushopt": "__CLFLUSHOPT__", "rdpid": "__RDPID__",
}  # fmt: skip


@programs("cc")
@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_what_compilers_take_them_for(level: str) -> None:
    said = subprocess.run(
        ["cc", f"-march={level.removesuffix('-v1')}", "-dM", "-E", "-x", "c", "/dev/null"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    defined = {line.split()[1] for line in said.splitlines()}
    features = MODELS[level].features
    for name, macro in (COMPILERS | OTHER_MACROS).items():
        if macro:
            assert (name in features) == (macro in defined), name
    assert set(LEVELS[level]) <= features
    assert set(LEVELS[level]) <= COMPILERS.keys()


def test_every_extension_has_instructions_and_is_announced() -> None:
    assert set(EXTENSIONS) <= {insn.extension for insn in x86.insns}
    assert FEATURES.keys() >= DESCRIBED
    assert len(EXTENSIONS) <= 64
    assert set(USER) | set(KERNEL) | {"fpu", "abm", "syscall"} == set(EXTENSIONS)


@pytest.mark.parametrize("name", MODELS)
def test_models_have_what_their_features_are_built_on(name: str) -> None:
    features = MODELS[name].features
    for ground, built in BUILT_ON.items():
        assert ground in features or not features & set(built), ground


# -- other features


@pytest.mark.parametrize(
    ("model", "there", "gone"),
    [
        ("Nehalem,+aes,-sse4_2", {"aes"}, {"sse4_2"}),
        ("Nehalem,+avx2", {"avx2", "avx", "xsave"}, set[str]()),
        ("max,-xsave", {"sse4_2"}, {*BUILT_ON["xsave"], *BUILT_ON["avx"], "xsave"}),
        ("max, -sse4.2, -pni", {"sse4_1"}, {"sse4_2", "sse3"}),
        ("max,-avx512f,-hle", {"avx2"}, set[str]()),
        ("qemu64,+lzcnt", {"abm"}, set[str]()),
    ],
)
def test_features_come_and_go(model: str, there: set[str], gone: set[str]) -> None:
    before, after = MODELS[model.partition(",")[0]].features, processor(model).features
    assert there <= after
    assert not gone & after
    assert before - after <= gone
    assert after - before <= there


@pytest.mark.parametrize(
    ("model", "cause", "remedy"),
    [
        ("Nehalen", "no processor model 'Nehalen'", "did you mean Nehalem"),
        ("max,-avx3", "no processor feature 'avx3'", "did you mean avx"),
        ("max,avx", "'avx' is no change", "-FEATURE"),
        ("Nehalem,+rtm", "rtm is not described", "--accel kvm"),
        ("max,+avx512f", "avx512f is not described", "--accel kvm"),
        ("max,-fpu", "without fpu", "leave that away"),
        ("max,+avx2,-xsave", "have avx, avx2, xsave and have it not", "one of them"),
    ],
)
def test_models_that_cannot_be(model: str, cause: str, remedy: str) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        processor(model)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("host", "KVM alone"),
        ("x86-64-v4", "AVX-512"),
        ("Haswell,-hle", "transactions .* there is Haswell-noTSX"),
        ("Nehalm", "no processor model 'Nehalm'"),
    ],
)
def test_models_that_are_not_there_have_a_reason(model: str, cause: str) -> None:
    assert not ABSENT.keys() & MODELS.keys()
    with pytest.raises(BimetalError, match=cause) as caught:
        described("interp", "x86_64", model)
    assert "Haswell-noTSX" in caught.value.remedy


# -- what CPUID tells


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["qemu64", "Haswell-noTSX", "EPYC,-xsave", "max"])
def test_cpuid_tells_of_the_model(model: str, engine: str) -> None:
    table = words(processor(model))
    with made(engine, model) as machine:
        for row, (leaf, index) in enumerate(LEAVES):
            machine.do("cpuid", rax=leaf, rcx=index)
            told = [machine[name] for name in ("rax", "rbx", "rcx", "rdx")]
            expected = table[4 * row : 4 * row + 4]
            if leaf == 0xD and index == 0 and expected[0]:
                expected[1] = 576  # as long as YMM registers are not enabled
            assert told == expected, (hex(leaf), index)
        machine.do("cpuid", rax=7, rcx=1)
        assert [machine[name] for name in ("rax", "rbx", "rcx", "rdx")] == [0] * 4


def test_a_vcpus_state_has_no_model() -> None:
    """It goes on as the processor that it is loaded into."""
    with made("reference", "Nehalem") as one, made("reference", "Haswell-noTSX") as other:
        assert "identity" not in one.registers()
        other.cpu.load(one.cpu.save())
        other.do("cpuid", rax=1)
        assert other["rax"] == 0x306C1


def test_linux_is_told_how_time_stamps_are_counted_where_it_cannot_know() -> None:
    told = {model: described("jit", "x86_64", model).linux for model in MODELS}
    assert told["EPYC"] == told["qemu64"] == "tsc_early_khz=1000000 tsc=reliable"
    assert told["Nehalem"] == "tsc=reliable"
    assert told["max"] == told["x86-64-v1"] == described("kvm", "x86_64", "EPYC").linux == ""


# -- what is undefined


def tries(names: list[str]) -> str:
    """A program that tries instructions with vectors enabled as far as they can be; R12 gets the
    bits of those that are undefined."""
    each = USER | KERNEL
    lines = "".join(
        f"mov r13, {1 << n:#x}\nlea r15, [rip + next_{n}]\nxor eax, eax\nxor ecx, ecx\n"
        f"{'mov ecx, 0x10' if each[name] == 'rdmsr' else ''}\nxor edx, edx\n"
        f"{each[name]}\nnext_{n}:\n"
        for n, name in enumerate(names)
    )
    return f"""
        xor r12, r12
        xor r13, r13
        mov rdi, {BUFFER}
        mov r14, rsp
        mov rax, cr4
        or eax, 0x600
        mov cr4, rax
        lea r15, [rip + no_fsgsbase]
        mov rax, cr4
        or eax, 0x10000
        mov cr4, rax
    no_fsgsbase:
        lea r15, [rip + begin]
        mov rax, cr4
        or eax, 0x40000
        mov cr4, rax
        xor ecx, ecx
        xor edx, edx
        mov eax, 3
        xsetbv
        mov eax, 7
        xsetbv
    begin:
        {lines}
        mov eax, 1
    """


def going_on(vector: int) -> str:
    """A handler of #UD that notes it; this and #GP go on at R15."""
    if vector not in (6, 13):
        return handler(vector)
    noted = "or r12, r13" if vector == 6 else "nop"
    return f"{noted}\nmov rsp, r14\njmp r15"


def undefined(engine: str, model: str) -> set[str]:
    names = [*USER, *KERNEL]
    with made(engine, model) as machine:
        begin(machine, tries(names), going_on)
        assert machine.finish() == 1
        return {name for n, name in enumerate(names) if machine["r12"] >> n & 1}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", BY_MODEL)
def test_what_a_model_lacks_is_undefined(model: str, engine: str) -> None:
    lacks = processor(model).lacks - {"fpu", "abm", "syscall"}
    if processor(model).vendor == AMD:
        lacks |= {"sep"}  # which they have in legacy mode alone (APM volume 2, 6.1.2)
    assert undefined(engine, model) == lacks


@programs(QEMU, QEMU_USER, "cc")
@pytest.mark.parametrize("model", ["qemu64", "Nehalem", "SandyBridge", "Haswell-noTSX", "EPYC"])
def test_programs_find_undefined_what_they_find_so_in_qemu(model: str, tmp_path: Path) -> None:
    """As far as QEMU's translator has it."""
    known = tcg()
    tried = [name for name in USER if name in known]
    assert len(tried) > 25
    lacks = processor(model).lacks & set(tried)
    assert undefined_in_qemu(model, tried, tmp_path) == lacks


@pytest.mark.parametrize("name", MODELS)
def test_no_instruction_is_decoded_that_a_model_lacks(name: str) -> None:
    model, features = MODELS[name], architecture.features(name)
    for insn in x86.insns:
        missing = bool(x86.feature(insn) & ~features)
        assert missing == (insn.extension in model.lacks), insn.name


FALLBACKS = """
    mov eax, 77
    xor ecx, ecx
    tzcnt eax, ecx
    mov esi, eax
    mov ecx, 0x100
    lzcnt ebx, ecx
    pause
    endbr64
    mov eax, 1
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("model", "trailing", "leading"),
    [("Nehalem", 77, 8), ("max", 32, 23), ("max,-bmi1", 77, 23), ("max,-lzcnt", 32, 8)],
)
def test_tzcnt_and_lzcnt_are_bsf_and_bsr_without_them(
    engine: str, model: str, trailing: int, leading: int
) -> None:
    with made(engine, model) as machine:
        assert machine.do(FALLBACKS) == 1
        assert (machine["rsi"], machine["rbx"]) == (trailing, leading)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["qemu64", "max,-lahf_lm"])
def test_lahf_is_there_in_32_bit_code_whatever_lahf_lm_says(model: str, engine: str) -> None:
    with made(engine, model) as machine:
        assert machine.do("stc\nlahf\nshr eax, 8\nand eax, 1", 32) == 1


# -- bits that cannot be set


def outcome(model: str, text: str, engine: str = "reference") -> int:
    """The exception that a kernel's code ends with; 1 if it has none."""
    with made(engine, model) as machine:
        begin(machine, f"{text}\nmov eax, 1")
        return machine.finish()


@pytest.mark.parametrize("name", ["sysenter", "sysexit"])
@pytest.mark.parametrize(("model", "vector"), [("EPYC", 6), ("qemu64", 6), ("Nehalem", 13)])
def test_only_intels_have_sysenter_in_long_mode(name: str, model: str, vector: int) -> None:
    """With no selector in its register it is #GP there."""
    assert outcome(model, name) == vector


CR4 = {
    "tsc": 2, "de": 3, "pse": 4, "pge": 7, "fxsr": 9, "sse": 10, "umip": 11, "fsgsbase": 16,
    "pcid": 17, "xsave": 18, "smep": 20, "smap": 21,
}  # fmt: skip
"""Bits of CR4 (volume 3, 2.5) that are reserved where a feature is not there."""


@pytest.mark.parametrize(("feature", "bit"), CR4.items())
def test_bits_of_cr4_are_reserved_without_their_feature(feature: str, bit: int) -> None:
    text = f"mov rax, cr4\nbts rax, {bit}\nmov cr4, rax"
    assert outcome("max", text) == 1
    assert outcome(f"max,-{feature}", text) == 13


ON = "mov rax, cr4\nor eax, 0x40600\nmov cr4, rax\nxor ecx, ecx\nxor edx, edx\n"


@pytest.mark.parametrize(
    ("model", "text", "vector"),
    [
        ("SandyBridge", f"{ON}mov eax, 7\nxsetbv", 1),
        ("max,-avx", f"{ON}mov eax, 3\nxsetbv", 1),
        ("max,-avx", f"{ON}mov eax, 7\nxsetbv", 13),
        ("max", f"{ON}mov ecx, 1\nxgetbv", 1),
        ("SandyBridge", f"{ON}mov ecx, 1\nxgetbv", 13),
    ],
)
def test_bits_of_xcr0_are_reserved_too(model: str, text: str, vector: int) -> None:
    assert outcome(model, text) == vector


@pytest.mark.parametrize(("feature", "bit"), [("syscall", 0), ("nx", 11)])
def test_bits_of_efer_are_reserved_too(feature: str, bit: int) -> None:
    code = assemble(f"mov ecx, 0xc0000080\nrdmsr\nbts eax, {bit}\nwrmsr\nhlt", 64, CODE)
    for model, is_set in (("max", 1), (f"max,-{feature}", 0)):
        with made("reference", model) as machine:
            machine.place(code, 64)
            machine.run()  # to HLT, or #GP, which nobody has a handler for
            assert machine["efer"] >> bit & 1 == is_set


MSRS = {
    "sep": 0x174, "pat": 0x277, "mtrr": 0x200, "spec_ctrl": 0x48, "tsc_adjust": 0x3B,
    "tsc_deadline": 0x6E0, "arch_capabilities": 0x10A, "x2apic": 0x802,
}  # fmt: skip


@pytest.mark.parametrize(("feature", "number"), MSRS.items())
def test_registers_are_there_with_their_feature(feature: str, number: int) -> None:
    assert outcome(f"max,-{feature}", f"mov ecx, {number:#x}\nrdmsr") == 13
    if feature not in ("x2apic", "tsc_deadline"):  # which the board is asked for
        assert outcome("max", f"mov ecx, {number:#x}\nrdmsr") == 1


@pytest.mark.parametrize(("model", "vector"), [("max", 1), ("max,-pdpe1gb", 14)])
def test_pages_of_a_gigabyte_are_reserved_without_their_feature(model: str, vector: int) -> None:
    with made("reference", model) as machine:
        begin(machine, "mov eax, [0x80000000]\nmov eax, 1")
        machine.put(PDPT + 16, struct.pack("<Q", 0x87))
        assert machine.finish() == vector
        if vector != 1:
            assert log(machine)[1] == 9  # of a reserved bit
