"""A kernel or firmware by its path.

Linux images and ELF files are known by what they begin with. A raw binary has no mark, so nothing
tells it from a file that was given by mistake: firmware may be one unless it is text, a kernel
only where the user says so.
"""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf import is_elf, load_elf
from bimetal.firmware.linux_image import is_riscv_image, load_riscv_image
from bimetal.firmware.program import Program, Segment, read_file

__all__ = ["load_raw", "load_riscv_firmware", "load_riscv_kernel"]

MACHINE = "EM_RISCV"
LOOKED_AT = 4096
"""Bytes at the start of a file by which text is recognised."""


def load_riscv_kernel(path: str, memory_start: int) -> Program:
    """The RISC-V kernel at ``path``: a Linux image or an ELF file, compressed or not.

    Raises `BimetalError` for anything else.
    """
    data = _read(path, "kernel")
    program = _recognised(data, path, "kernel", memory_start)
    if program is None:
        what = "is text" if _is_text(data) else "is neither a Linux image for RISC-V nor ELF"
        raise BimetalError(
            f"the kernel {path} {what}",
            "give a Linux Image or an ELF file, or say --kernel-format raw for a raw binary",
            ExitCode.DATA,
        )
    return program


def load_riscv_firmware(path: str, memory_start: int) -> Program:
    """The RISC-V firmware at ``path``: as a kernel, or a raw binary for the start of memory.

    Raises `BimetalError` for text.
    """
    data = _read(path, "bios")
    if program := _recognised(data, path, "bios", memory_start):
        return program
    if _is_text(data):
        raise BimetalError(
            f"the bios {path} is text", "give a raw binary, or an ELF file", ExitCode.DATA
        )
    return _raw(path, data, memory_start)


def load_raw(path: str, what: str, address: int) -> Program:
    """The file at ``path`` as it is, for ``address``, where it is entered.

    Raises `BimetalError` that calls it ``what`` if it cannot be read or is empty.
    """
    return _raw(path, read_file(path, what), address)


def _read(path: str, what: str) -> bytes:
    return decompress(read_file(path, what), f"the {what} {path}")


def _recognised(data: bytes, path: str, what: str, memory_start: int) -> Program | None:
    if is_elf(data):
        return load_elf(data, path, MACHINE, what)
    if is_riscv_image(data):
        return load_riscv_image(data, path, memory_start)
    return None


def _is_text(data: bytes) -> bool:
    """Whether a file begins as text does: no control characters but those between words."""
    start = data[:LOOKED_AT]
    return all(byte >= 0x20 or byte in b"\t\n\f\r\x1b" for byte in start)


def _raw(path: str, data: bytes, address: int) -> Program:
    return Program(path, (Segment(address, data, len(data)),), entry=address)
