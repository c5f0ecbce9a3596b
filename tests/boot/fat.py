"""Disks with a FAT file system, as firmware reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tests.host import need, program_path

__all__ = ["make_fat_disk"]

MIB = 1 << 20
SPARE = 16 * MIB


def make_fat_disk(image: Path, files: Mapping[str, Path | str]) -> Path:
    """Make ``image`` a disk with these files, copies of others or texts; their folders too."""
    need("mformat")
    inputs: dict[str, Path] = {}
    for number, (name, held) in enumerate(files.items()):
        inputs[name] = held if isinstance(held, Path) else image.with_name(f"text{number}")
        if isinstance(held, str):
            inputs[name].write_text(held)
    with image.open("wb") as disk:
        size = sum(each.stat().st_size for each in inputs.values()) + SPARE
        disk.truncate(size + -size % MIB)
    run("mformat", image, "-F", "::")
    folders = {parent for name in files for parent in PurePosixPath(name).parents}
    for folder in sorted(folders, key=lambda each: len(each.parts)):
        if folder.parts:
            run("mmd", image, f"::{folder}")
    for name, held in inputs.items():
        run("mcopy", image, str(held), f"::{name}")
    return image


def run(program: str, image: Path, *words: str) -> None:
    """Run one of the mtools on ``image``."""
    subprocess.run([program_path(program), "-i", str(image), *words], check=True)
