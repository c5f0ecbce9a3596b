"""EFI zboot: a PE program around a compressed kernel, which unpacks and starts it.

Source: the Linux kernel's drivers/firmware/efi/libstub/zboot-header.S.
"""

from __future__ import annotations

import struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.firmware.compression import compression_of

__all__ = ["is_zboot", "zboot_payload"]

HEADER = struct.Struct("<2s2x4sII8x32s4s")
DOS, ZIMG, LINUX = b"MZ", b"zimg", b"\xcd\x23\x82\x81"


def is_zboot(data: bytes) -> bool:
    """Whether ``data`` begins like an EFI zboot image."""
    if len(data) < HEADER.size:
        return False
    dos, zimg, _, _, _, linux = HEADER.unpack_from(data)
    return (dos, zimg, linux) == (DOS, ZIMG, LINUX)


def zboot_payload(data: bytes, name: str) -> bytes:
    """The compressed kernel in ``data``.

    Raises `BimetalError` naming ``name`` if it is cut, or compressed in a way without a mark.
    """
    _, _, start, size, kind, _ = HEADER.unpack_from(data)
    if start < HEADER.size or start + size > len(data) or not size:
        raise BimetalError(
            f"{name} is damaged: it has {len(data)} bytes of {start + size}",
            "get the file anew",
            ExitCode.DATA,
        )
    payload = data[start : start + size]
    if compression_of(payload) is None:
        how = kind.split(b"\0")[0].decode("latin-1")
        raise BimetalError(
            f"{name} holds a kernel that is compressed as {how!r}, or damaged",
            "get the kernel in another form, or the file anew",
            ExitCode.DATA,
        )
    return payload
