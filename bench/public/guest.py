"""The guest that runs them: the catalogue's kernel, the image of their packages, and a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.linux import Linux, linux
from bench.public.table import FOLDER
from bench.targets import Target
from bimetal.catalogue.newc import Archive

__all__ = ["guest"]

ORDER = " && ".join(
    (
        "mount -t ext4 -o ro /dev/vda /mnt",
        "cd /mnt",
        "mount -t tmpfs tmpfs tmp",
        "mount -t proc proc proc",
        "mount -t sysfs sys sys",
        "mount -t devtmpfs dev dev",
        "cp -r /bench/public tmp",
        "chroot . /bin/bash /tmp/public/script.sh",
    )
)
"""Leads from busybox into Debian, whose own init would be longer about it than most programs."""

WORDS = {"riscv64": " no5lvl"}
"""What the kernel is told besides: Java for RISC-V refuses page tables of five levels."""

MEMORY = "1536M"
"""For a compiler, Java, and files in memory."""


def guest(target: Target, image: Path, text: str, folder: Path, cpus: int = 1) -> Linux:
    """The guest that runs the script ``text``; its initial file system is made in ``folder``."""
    plain = linux(replace(target, memory=MEMORY), ORDER, disk=image, cpus=cpus)
    archive = Archive()
    archive.file("bench/public/script.sh", text.encode(), 0o755)
    for path in inputs():
        archive.file(f"bench/public/{path.name}", path.read_bytes(), 0o644)
    initrd = folder / "initrd"
    initrd.write_bytes(plain.initrd.read_bytes() + archive.to_bytes())
    append = plain.append + WORDS.get(target.name, "")
    return replace(plain, initrd=initrd, append=append)


def inputs() -> Sequence[Path]:
    """The files that programs are given: sources of interpreters and compilers."""
    return sorted(path for path in FOLDER.iterdir() if path.name != "programs.toml")
