"""Files that are given as a kernel and are none: what they are, and what to do with them."""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.processors import PROCESSORS

__all__ = ["no_program", "what_else"]

LOOKED_AT = 4096
"""Bytes at the start of a file by which text is recognised."""

INITRD = "give it as the initrd (--initrd)"
DISK = "give it as a disk (--disk), and a kernel beside it"
UNPACK = "unpack it, and give the kernel in it"
LINK = "link it to a program"
KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"!<arch>\ndebian-binary", "a Debian package", UNPACK),
    (0, b"!<arch>\n", "an archive of object files", LINK),
    (0, b"BC\xc0\xde", "a file of LLVM", LINK),
    (0, b"\0asm", "a WebAssembly program", ""),
    (0, b"ANDROID!", "an Android boot image", UNPACK),
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"\xed\xab\xee\xdb", "an RPM package", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"07070", "a cpio archive, as initial file systems are", INITRD),
    (0, b"QFI\xfb", "a qcow2 disk image", DISK),
    (0, b"KDMV", "a VMDK disk image", DISK),
    (0, b"hsqs", "a squashfs file system", DISK),
    (1080, b"\x53\xef", "an ext file system", DISK),
    (32769, b"CD001", "a CD image", DISK),
)
"""Where each kind of file has its mark, the mark, what it is and what to do."""


def what_else(data: bytes) -> tuple[str, str] | None:
    """What ``data`` is that is no program, and a remedy; None if it may be one."""
    if not data:
        return "empty", ""
    if is_text(data):
        return "text", ""
    for at, mark, what, remedy in KINDS:
        if data[at : at + len(mark)] == mark:
            return what, remedy
    return None


def no_program(data: bytes, name: str, wanted: str, remedy: str) -> BimetalError:
    """What to say of a file that is not ``wanted`` ("a kernel for RISC-V")."""
    what, own_remedy = what_else(data) or _foreign_kernel(data) or ("", "")
    cause = f"{name} is {what}, not {wanted}" if what else f"{name} is not {wanted}"
    return BimetalError(cause, own_remedy or remedy, ExitCode.DATA)


def _foreign_kernel(data: bytes) -> tuple[str, str] | None:
    for processor in PROCESSORS:
        if processor.has_linux(data):
            remedy = f"choose --board {processor.board}, or give one for this board"
            return f"a Linux kernel for {processor.name}", remedy
    if data.startswith(b"MZ"):
        return "a program for EFI", "give the kernel in it, or start it from firmware"
    if data[510:512] == b"\x55\xaa":
        return "a disk image", DISK
    return None


def is_text(data: bytes) -> bool:
    """Whether a file begins as text does: no control characters but those between words."""
    start = data[:LOOKED_AT]
    return all(byte >= 0x20 or byte in b"\t\n\f\r\x1b" for byte in start)
