"""A kernel or firmware by its path, whatever its format."""

from __future__ import annotations

from bimetal.firmware.compression import decompress
from bimetal.firmware.elf import is_elf, load_elf
from bimetal.firmware.linux_image import is_riscv_image, load_riscv_image
from bimetal.firmware.program import Program, Segment, read_file

__all__ = ["load_riscv_program"]

MACHINE = "EM_RISCV"


def load_riscv_program(path: str, what: str, memory_start: int, raw_at: int) -> Program:
    """The RISC-V program at ``path``: a Linux image, an ELF file, or a raw binary for ``raw_at``;
    compressed or not.

    Raises `BimetalError` that calls it ``what``, as in "kernel".
    """
    data = decompress(read_file(path, what), f"the {what} {path}")
    if is_elf(data):
        return load_elf(data, path, MACHINE, what)
    if is_riscv_image(data):
        return load_riscv_image(data, path, memory_start)
    return Program(path, (Segment(raw_at, data, len(data)),), entry=raw_at)
