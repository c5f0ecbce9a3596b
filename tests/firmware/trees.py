"""Device trees by dtc and fdtoverlay, the judges of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.host import need

__all__ = ["compiled", "decompiled", "overlaid"]


def compiled(source: str, *options: str) -> bytes:
    """What dtc makes of a source."""
    need("dtc")
    command = ["dtc", "-q", "-I", "dts", "-O", "dtb", *options]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=True)
    return done.stdout


def decompiled(blob: bytes, *options: str) -> str:
    """What dtc reads in a blob."""
    need("dtc")
    command = ["dtc", "-q", "-I", "dtb", "-O", "dts", *options]
    done = subprocess.run(command, input=blob, capture_output=True, check=True)
    return done.stdout.decode()


def overlaid(folder: Path, base: bytes, *overlays: bytes) -> bytes | None:
    """What fdtoverlay makes of a tree; None if it refuses."""
    names = []
    for number, blob in enumerate((base, *overlays)):
        (folder / f"{number}.dtb").write_bytes(blob)
        names.append(f"{number}.dtb")
    need("fdtoverlay")
    command = ["fdtoverlay", "-i", names[0], "-o", "out.dtb", *names[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return (folder / "out.dtb").read_bytes() if done.returncode == 0 else None
