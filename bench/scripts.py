"""Work in a Linux guest, timed by the guest itself after a pass that warms caches."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench.caches import private_caches
from bench.laps import Timing, compare
from bench.linux import Linux, linux
from bench.measure import alternate
from bench.programs import SOURCES, build_for_linux
from bench.report import mean_row, row
from bench.targets import Target
from bimetal.catalogue import cache_folder
from tools.debian_root import make_root, missing_tools

__all__ = ["debian", "harts", "shell", "turns"]

PACKAGES = "passwd,openssl,python3-minimal"
CHROOT = (
    "mount -t ext4 -o ro /dev/vda /mnt && mount -t tmpfs tmpfs /mnt/tmp"
    " && mount -t proc proc /mnt/proc && cp /bench/debian.sh /mnt/tmp"
    " && chroot /mnt /bin/sh /tmp/debian.sh"
)
"""Leads from busybox into Debian, whose own init would be longer about it than the bench."""


def shell(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time a shell script that forks, pipes and uses files; yield the lines of the report."""
    return report(linux(target, "sh /bench/shell.sh", SOURCES / "shell.sh"), rounds, options)


def debian(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time commands of a Debian on a disk; yield the lines of the report."""
    arch = target.name
    image = cache_folder() / "roots" / f"bench-{arch}.img"
    if not image.exists():
        if lacking := missing_tools(arch) or ("root" if os.getuid() else ""):
            yield f"debian is left out: to make its disk this host lacks {lacking}"
            return
        make_root(image, arch, packages=PACKAGES)
    yield from report(linux(target, CHROOT, SOURCES / "debian.sh", image), rounds, options)


def harts(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time threads that share work on four harts, and how the time falls with their number."""
    program = build_for_linux("parallel", target, cache_folder() / "bench")
    timings = timed(linux(target, "/bench/parallel", program, cpus=4), rounds, options)
    yield from rows(timings)
    alone = timings["threads_1"].steady
    for name in ("threads_2", "threads_4"):
        pairs = zip(alone, timings[name].steady, strict=True)
        times = [(one.ours / more.ours, one.theirs / more.theirs) for one, more in pairs]
        ours, theirs = (statistics.median(each) for each in zip(*times, strict=True))
        yield f"  {name} as fast as threads_1: {ours:.2f} times, under QEMU {theirs:.2f} times"


def turns(target: Target, rounds: int, options: Sequence[str]) -> Iterator[str]:
    """Time two and eight processes that take turns on one CPU; yield the lines of the report."""
    program = build_for_linux("turns", target, cache_folder() / "bench")
    yield from report(linux(target, "/bench/turns", program), rounds, options)


def report(guest: Linux, rounds: int, options: Sequence[str]) -> Iterator[str]:
    timings = timed(guest, rounds, options)
    yield from rows(timings)
    if len(timings) > 1:
        yield mean_row([timing.steady for timing in timings.values()])


def timed(guest: Linux, rounds: int, options: Sequence[str]) -> dict[str, Timing]:
    with private_caches(guest.target, "scripts") as (cache,):
        return compare(alternate(guest.ours(options), guest.theirs(), rounds, cache.path))


def rows(timings: Mapping[str, Timing]) -> Iterator[str]:
    for name, timing in timings.items():
        yield row(name, timing.steady)
        yield row("  first lap", timing.first)
