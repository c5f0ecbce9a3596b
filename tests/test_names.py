"""Instruction sets are known by name in a few rooms; the rest of the tree serves any of them.

Prose may name them, for examples and for reasons: what counts are names that code has and texts
that it works with or shows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "bimetal"

ROOMS = (
    "isa/arm/",
    "isa/riscv/",
    "isa/x86/",
    "boards/arm_",
    "boards/riscv_",
    "boards/x86_",
    "boards/microvm.py",
    "firmware/acpi/arm.py",
    "firmware/acpi/gic.py",
    "firmware/acpi/x86.py",
    "firmware/linux_x86.py",
    "firmware/opensbi.py",
    "firmware/psci.py",
    "firmware/pvh.py",
    "firmware/sbi.py",
    "firmware/x86_modes.py",
    "accel/kvm/",
    "devices/irq/",
    "devices/timer/aclint.py",
)
"""Where one instruction set is what a file is about: its description, boards, firmware, devices
that its vendor or its boards alone have, and its layer of KVM."""

TABLES = {
    "isa/names.py": "the registry of instruction sets",
    "control/commands/emulator.py": "what clients ask of one instruction set alone",
    "control/emulator/targets.py": "the emulators by the names that others call them",
    "control/installing/media.py": "how UEFI names what it starts on each processor",
    "firmware/processors.py": "how the files that kernels come in name processors",
    "boards/__init__.py": "the registry of boards",
    "catalogue/guests.py": "the guests, each of which is for a board",
    "cli/code.py": "how ELF files name instruction sets, and what raw files are taken for",
    "cli/doctor.py": "the program by which an installation is tried",
    "cli/run.py": "boards by what users call their processors, and the usual one",
    "machine/machine.py": "the usual board",
}
"""Data that says which there are, and what is usual: a new instruction set adds a line."""

HOSTS = {
    "codegen/extract.py": "how the host's object files refer to places",
    "codegen/host.py": "what LLVM has for the host that code is made for",
    "codegen/linking.py": "how the host's object files refer to places",
    "codegen/native.py": "how code for the host is made",
    "codegen/resolve.py": "how the host's object files refer to places",
    "memory/barrier.py": "how the host orders accesses",
}
"""The processor that we run on is another matter: it is there without a description of ours."""

NAMES = re.compile(
    r"(?<![a-z0-9])(risc-?v\d*|rv(32|64)\w*|aarch(32|64)|arm(64|v\d)|a64|arm(?=[-_ ,])|thumb"
    r"|x86\w*|amd64|i386|ppc\w*|powerpc\w*|s390\w*|sbi|psci|smccc?|hvc|harts?|hartid"
    r"|m?csrs?|[ms]status|satp|[ms]cause|[ms]tvec|sfence|misa|[ms]envcfg|stimecmp"
    r"|fcsr|frm|el[0-3]|nzcv|fpcr|fpsr|sctlr|ttbr[01]?|esr|plic|clint|gicv?\d?)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Instruction sets, the firmware interfaces that belong to one, and their best-known registers."""

HARMLESS = {
    "arm": "timers are armed",
    "hvc": "hvc0, the console that virtio and Linux have on every processor",
}


def words(text: str) -> set[str]:
    """The names of instruction sets in an identifier or a text."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return {found[0].lower() for found in NAMES.finditer(apart)} - HARMLESS.keys()


def docstrings(tree: ast.AST) -> set[int]:
    """Strings that stand alone as statements, by the identity of their nodes: documentation."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def names_and_texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier and every string of a file, and the line where it stands."""
    prose = docstrings(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield line, text
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.keyword(arg=str(name)):
                yield line, name
            case ast.alias(name=name):
                yield line, name
            case ast.ImportFrom(module=str(name)):
                yield line, name


def elsewhere() -> list[str]:
    """The files that serve any instruction set."""
    found = (str(path.relative_to(SOURCE)) for path in sorted(SOURCE.rglob("*.py")))
    return [name for name in found if not name.startswith((*ROOMS, *TABLES, *HOSTS))]


@pytest.mark.parametrize("name", elsewhere())
def test_no_name_of_an_instruction_set(name: str) -> None:
    tree = ast.parse((SOURCE / name).read_text())
    found = [
        f"{name}:{line} {', '.join(sorted(said))}"
        for line, text in names_and_texts(tree)
        if (said := words(text))
    ]
    assert not found, "\n".join(found)


def test_every_room_is_there() -> None:
    files = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")]
    empty = [
        room for room in (*ROOMS, *TABLES, *HOSTS) if not any(f.startswith(room) for f in files)
    ]
    assert not empty


@pytest.mark.parametrize(
    "text", ["RiscvCpu", "rv64_state", "is_arm64", "read_csr", "EL1", "mstatus"]
)
def test_names_are_found_in_identifiers(text: str) -> None:
    assert words(text)


@pytest.mark.parametrize("text", ["alarm", "army", "x", "excel", "chart", "shared", "charts"])
def test_other_words_are_not(text: str) -> None:
    assert not words(text)
