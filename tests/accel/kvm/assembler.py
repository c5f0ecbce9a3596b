"""x86 assembly text to machine code, by the assembler inside LLVM.

The text is AT&T's or, as here by default, Intel's syntax; labels are local, so code may use them
in jumps and calls but not as absolute addresses.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

__all__ = ["assemble"]

TRIPLE = "x86_64-unknown-linux-gnu"


@cache
def _target_machine() -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(cpu="sapphirerapids")


@cache
def assemble(text: str, bits: int = 64) -> bytes:
    """The machine code of ``text`` for a code segment of 16, 32 or 64 bits."""
    lines = [".intel_syntax noprefix", f".code{bits}", *text.strip().splitlines()]
    quoted = "\n".join(f'module asm "{line.strip()}"' for line in lines)
    module = llvm.parse_assembly(f'target triple = "{TRIPLE}"\n{quoted}\n')
    image = llvm.ObjectFileRef.from_data(_target_machine().emit_object(module))
    for section in image.sections():
        if section.name() == b".text":
            return bytes(section.data())
    raise AssertionError("no code came out of the assembler")
