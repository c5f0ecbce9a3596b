"""How files begin, or end, that are neither the bytes of a disk nor read here in another way.

Every one is known by what its specification puts at a fixed place. What a guest may well keep on
its disk from the first byte on is not here, though it has such marks too: file systems, ISO 9660,
tar archives and LUKS, which guests lock and unlock themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import Struct

from bimetal.backends.block.commands import quoted, unused
from bimetal.backends.block.formats import FORMATS, QCOW2, VDI, VHDX, VMDK, VPC

__all__ = ["EDGE", "QCOW2_IMAGE", "Kind", "looks_like", "recognise"]

EDGE = 512
"""Bytes at the beginning and at the end of a file that tell."""


class Kind(Struct, frozen=True):
    """What a file is, in words, and ``advice``: what makes an image of it that can be read, with
    {old} for the file and {new} for one with the suffix ``suffix`` instead of its own. ``format``
    is that of an image that is read, but only where that is said or named: see `choose`."""

    what: str
    advice: str = "fetch it again"
    suffix: str = ""
    format: str | None = None

    def remedy(self, path: str) -> str:
        """What to do with the file at ``path``."""
        stem, own = os.path.splitext(path)
        new = stem if own in PACKED and not self.suffix else stem + (self.suffix or ".raw")
        return self.advice.format(old=quoted(path), new=quoted(unused(new)))


def recognise(head: bytes, tail: bytes = b"") -> Kind | None:
    """What the file is whose first and last `EDGE` bytes are ``head`` and ``tail``, or all of
    them if it has fewer; None if it may be the bytes of a disk."""
    for kind, matches in _HEADS:
        if matches(head):
            return kind
    for kind, matches in _TAILS:
        if matches(tail):
            return kind
    return None


def looks_like(format: str, head: bytes, tail: bytes) -> bool:
    """Whether a file with these edges may be an image of ``format``, whatever else it may be: the
    disk in a fixed VHD begins as it likes."""
    of_heads = any(kind.format == format and matches(head) for kind, matches in _HEADS)
    return of_heads or any(kind.format == format and matches(tail) for kind, matches in _TAILS)


QCOW2_IMAGE = Kind("a qcow2 image", format=QCOW2)

PACKED = frozenset({".bz2", ".gz", ".lz", ".lz4", ".lzma", ".lzo", ".xz", ".Z", ".zst"})
"""Suffixes of compressed files, which the name of their content has not."""

BYTE_ORDER = b"\xef\xbb\xbf"
"""What some editors of texts put before all else."""

Matches = Callable[[bytes], bool]


def _starts(*magics: bytes, at: int = 0) -> Matches:
    return lambda data: data.startswith(magics, at)


def _image(what: str, format: str) -> Kind:
    order = f"qemu-img convert -f {format} -O qcow2 {{old}} {{new}}"
    read = format if format in FORMATS else None
    return Kind(f"{what} image", f"make a qcow2 image of it: {order}", ".qcow2", read)


def _packed(what: str, program: str) -> Kind:
    return Kind(f"a file compressed with {what}", f"unpack it: {program} -dc {{old}} > {{new}}")


def _archive(what: str, order: str) -> Kind:
    return Kind(f"{what} archive", f"unpack it: {order} {{old}}, and give the image that is in it")


def _text(*beginnings: bytes) -> Matches:
    return lambda data: data.removeprefix(BYTE_ORDER).lstrip().lower().startswith(beginnings)


def _is_qcow2(head: bytes) -> bool:
    """More than the magic number: zeroes or text behind it are no version."""
    return head[:4] == b"QFI\xfb" and head[4:7] == b"\0\0\0" and head[7:8] > b"\1"


def _is_old_qcow(head: bytes) -> bool:
    return head[:4] == b"QFI\xfb" and head[4:8] == bytes((0, 0, 0, 1))


def _is_bzip2(head: bytes) -> bool:
    blocks = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
    return head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in blocks


def _is_lzma(head: bytes) -> bool:
    """Properties, size of the dictionary, and the size of the content, which is left open."""
    return head[:3] == b"\x5d\0\0" and head[5:13] == b"\xff" * 8


def _is_appliance(head: bytes) -> bool:
    """A tar archive whose first file is a description (OVF specification 1.1, section 5.3)."""
    name = head[:100].rstrip(b"\0").lower()
    return head[257:262] == b"ustar" and name.endswith(b".ovf")


def _is_descriptor(head: bytes) -> bool:
    return _text(b"#")(head) and b"# disk descriptorfile" in head.lower()


def _is_footer(tail: bytes) -> bool:
    return b"conectix" in (tail[-512:-504], tail[-511:-503])


ZSTD_SKIPPED = tuple(bytes((kind, 0x2A, 0x4D, 0x18)) for kind in range(0x50, 0x60))
"""Frames that hold no content, which may come first (RFC 8878, section 3.1.2)."""

_VMDK = _image("a VMDK", VMDK)
_VHD = _image("a VHD", VPC)

_HEADS: tuple[tuple[Kind, Matches], ...] = (
    (QCOW2_IMAGE, _is_qcow2),
    (_VMDK, _starts(b"KDMV", b"COWD", b"\xbe\xba\xfe\xca\0\0\0\0")),
    (_VMDK, _is_descriptor),
    (_image("a VDI", VDI), _starts(b"\x7f\x10\xda\xbe", at=64)),
    (_VHD, _starts(b"conectix")),
    (_image("a VHDX", VHDX), _starts(b"vhdxfile")),
    (_image("a QED", "qed"), _starts(b"QED\0")),
    (_image("an old qcow", "qcow"), _is_old_qcow),
    (_image("a Parallels", "parallels"), _starts(b"WithoutFreeSpace", b"WithouFreSpacExt")),
    (_image("a Bochs", "bochs"), _starts(b"Bochs Virtual HD Image")),
    (_image("a cloop", "cloop"), _starts(b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop")),
    (
        Kind("a sparse image of Android", "unpack it: simg2img {old} {new}", ".raw"),
        _starts(b"\x3a\xff\x26\xed"),
    ),
    (_packed("gzip", "gzip"), _starts(b"\x1f\x8b\x08")),
    (_packed("bzip2", "bzip2"), _is_bzip2),
    (_packed("xz", "xz"), _starts(b"\xfd7zXZ\0")),
    (_packed("lzma", "xz"), _is_lzma),
    (_packed("zstd", "zstd"), _starts(b"\x28\xb5\x2f\xfd", *ZSTD_SKIPPED)),
    (_packed("lz4", "lz4"), _starts(b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18")),
    (_packed("lzip", "lzip"), _starts(b"LZIP\1")),
    (_packed("compress", "gzip"), _starts(b"\x1f\x9d\x90")),
    (_packed("lrzip", "lrzip"), _starts(b"LRZI\0")),
    (_packed("lzop", "lzop"), _starts(b"\x89LZO\0\r\n\x1a\n")),
    (_archive("a zip", "unzip"), _starts(b"PK\3\4", b"PK\5\6")),
    (_archive("a 7z", "7z x"), _starts(b"7z\xbc\xaf\x27\x1c")),
    (_archive("a rar", "unrar x"), _starts(b"Rar!\x1a\7")),
    (_archive("an OVA", "tar -xf"), _is_appliance),
    (
        Kind("a WIM archive", "write its files to a disk, with wimlib-imagex apply"),
        _starts(b"MSWIM\0\0\0"),
    ),
    (
        Kind("an EnCase image", "make a raw image of it, with ewfexport"),
        _starts(b"EVF\x09\x0d\x0a\xff\0", b"EVF2\x0d\x0a\x81\0"),
    ),
    (Kind("a web page"), _text(b"<!doctype html", b"<html")),
    (Kind("a text in XML"), _text(b"<?xml", b"<error>")),
    (Kind("the name of a file in Git LFS"), _starts(b"version https://git-lfs.")),
)

_TAILS: tuple[tuple[Kind, Matches], ...] = (
    (_VHD, _is_footer),
    (_image("a DMG", "dmg"), lambda tail: tail[-512:-508] == b"koly"),
)
"""A fixed VHD is the disk's bytes, and behind them 512 that tell (511 from old programs)."""
