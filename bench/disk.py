"""Requests of a disk in a Linux guest, past its page cache: raw and qcow2, by both transports.

Every run has an image of its own to which nothing was written, so the first lap is that of a disk
that fills, and the last one that of a disk that is full.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.caches import private_caches
from bench.laps import compare
from bench.linux import Linux, linux
from bench.measure import Run, run
from bench.programs import build_for_linux
from bench.report import mean_row
from bench.scripts import rows
from bench.targets import Target
from bimetal.catalogue import cache_folder
from bimetal.catalogue.folder import scratch_folder
from bimetal.images import create

__all__ = ["report"]

SIZE = 64 << 20
"""Bytes of the disk, as `bench/guests/linux/disk.c` knows it."""

FORMATS = ("raw", "qcow2")
TRANSPORTS = {
    "mmio": ("virtio-blk-device,drive=disk", "-global", "virtio-mmio.force-legacy=false"),
    "pci": ("virtio-blk-pci,drive=disk", "-global", "virtio-pci.disable-legacy=on"),
}
"""QEMU's device for each, and what makes it the one that ours is."""


def report(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time requests for every format and transport; yield the lines of the report."""
    program = build_for_linux("disk", target, cache_folder() / "bench")
    guest = linux(target, "/bench/disk", program)
    folder = cache_folder() / "bench" / target.name
    with private_caches(target, "disk") as (cache,), scratch_folder(folder) as scratch:
        for transport in TRANSPORTS:
            for format in FORMATS:
                image = scratch / f"disk.{format}"
                ours = command(guest, image, transport, options)
                theirs = command_of_qemu(guest, image, transport)
                pairs = [
                    (fresh(ours, image, cache.path), fresh(theirs, image))
                    for _ in range(rounds + 1)
                ]
                timings = compare(pairs[1:])
                yield f"{format}, {transport}"
                yield from rows(timings)
                yield mean_row([timing.steady for timing in timings.values()])


def command(guest: Linux, image: Path, transport: str, options: Sequence[str]) -> list[str]:
    """Ours, with ``image`` as a disk that is written."""
    board = f"{guest.target.board},bus={transport}"
    there = replace(guest, target=replace(guest.target, board=board))
    return there.ours([*options, "--disk", str(image)])


def command_of_qemu(guest: Linux, image: Path, transport: str) -> list[str]:
    """QEMU's."""
    drive = f"file={image},format={image.suffix[1:]},if=none,id=disk"
    return [*guest.theirs(), "-drive", drive, "-device", *TRANSPORTS[transport]]


def fresh(command: Sequence[str], image: Path, cache: Path | None = None) -> Run:
    """One run with a new image."""
    image.unlink(missing_ok=True)
    create(str(image), SIZE, format=image.suffix[1:])
    done = run(command, cache=cache)
    os.sync()  # what the host has still to write is not the next run's
    return done
