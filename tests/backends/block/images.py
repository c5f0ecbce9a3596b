"""Small images for tests, written by hand, so that they may be wrong where a test wants it."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["qcow2_bytes", "write_qcow2"]

CLUSTER = 4096
HEADER = 104
BACKING_FORMAT = 0xE2792ACA


def qcow2_bytes(
    size: int = 1 << 20, backing: bytes = b"", backing_format: bytes = b"", version: int = 3
) -> bytes:
    """An empty qcow2 image: header, reference table, reference block, L1 table."""
    extensions = b""
    if backing_format:
        padded = backing_format.ljust(-(-len(backing_format) // 8) * 8, b"\0")
        extensions += struct.pack(">II", BACKING_FORMAT, len(backing_format)) + padded
    extensions += bytes(8)
    name_at = HEADER + len(extensions) if backing else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, name_at, len(backing), 12, size, 0,
        1, 3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, HEADER,
    )  # fmt: skip
    clusters = [
        header + extensions + backing,
        struct.pack(">Q", 2 * CLUSTER),
        struct.pack(">4H", 1, 1, 1, 1),
        bytes(8),
    ]
    return b"".join(cluster.ljust(CLUSTER, b"\0") for cluster in clusters)


def write_qcow2(path: Path, backing: str | bytes = b"", backing_format: str = "") -> Path:
    """Such an image at ``path``, of 1 MiB, over the backing file called ``backing``."""
    name = backing.encode() if isinstance(backing, str) else backing
    path.write_bytes(qcow2_bytes(backing=name, backing_format=backing_format.encode()))
    return path
