"""A writer of Debian packages, as small as dpkg-deb accepts them (deb(5))."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

__all__ = ["write_deb"]


def write_deb(path: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """Write a package with the given files."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: riscv64\n"
    control += "Maintainer: x <x@example.org>\nDescription: x\n"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar": _tar({"control": control.encode()}),
        "data.tar": _tar(files),
    }
    archive = b"!<arch>\n"
    for member, data in members.items():
        archive += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        archive += data + b"\n" * (len(data) % 2)
    path.write_bytes(archive)


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
