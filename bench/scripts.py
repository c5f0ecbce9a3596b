"""Work in a Linux guest, timed by the guest itself after a pass that warms caches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bench.caches import private_caches
from bench.laps import compare
from bench.linux import Linux, linux
from bench.measure import alternate
from bench.report import mean_row, row
from bimetal.catalogue import cache_folder
from tools.debian_root import make_root, missing_tools

__all__ = ["debian", "shell"]

PACKAGES = "passwd,openssl,python3-minimal"
CHROOT = (
    "mount -t ext4 -o ro /dev/vda /mnt && mount -t tmpfs tmpfs /mnt/tmp"
    " && mount -t proc proc /mnt/proc && cp /bench/debian.sh /mnt/tmp"
    " && chroot /mnt /bin/sh /tmp/debian.sh"
)
"""Leads from busybox into Debian, whose own init would be longer about it than the bench."""


def shell(rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time a shell script that forks, pipes and uses files; yield the lines of the report."""
    return report(linux("sh /bench/shell.sh", "shell.sh"), rounds, options)


def debian(rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time commands of a Debian on a disk; yield the lines of the report."""
    image = cache_folder() / "roots" / "bench.img"
    if not image.exists():
        if lacking := missing_tools() or ("root" if os.getuid() else ""):
            yield f"debian is left out: to make its disk this host lacks {lacking}"
            return
        make_root(image, packages=PACKAGES)
    yield from report(linux(CHROOT, "debian.sh", image), rounds, options)


def report(guest: Linux, rounds: int, options: Sequence[str]) -> Iterator[str]:
    with private_caches("scripts") as (cache,):
        runs = alternate(guest.ours(options), guest.theirs(), rounds, cache.path)
    timings = compare(runs)
    for name, timing in timings.items():
        yield row(name, timing.steady)
        yield row("  first lap", timing.first)
    if len(timings) > 1:
        yield mean_row([timing.steady for timing in timings.values()])
