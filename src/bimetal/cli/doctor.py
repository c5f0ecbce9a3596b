"""``bimetal doctor``: what works on this host, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from bimetal import (
    GUESTS,
    BimetalError,
    Ending,
    ExitCode,
    Machine,
    __version__,
    cache_folder,
    cached_guest,
    check_kvm,
    check_mirror,
    format_size,
)
from bimetal.cli.options import OnceEach
from bimetal.control.confinement import check_confinement

__all__ = ["command"]

OLDEST_PYTHON = (3, 11)
LIMIT = 60
"""Seconds that a guest of a few instructions may take, an empty cache of code included."""
PROGRAM = bytes.fromhex("370f1000 b75f0000 938f5f55 2320ff01")
"""RISC-V code that switches the board off: lui t5, 0x100; lui t6, 5; addi t6, t6, 0x555;
sw t6, 0(t5)."""

ROOM = 1 << 30
"""Free bytes in the cache folder below which guests may not fit."""


@click.command("doctor", cls=OnceEach)
def command() -> int:
    """Look at this host: what works, what is missing, what to do.

    The exit code is 0 if machines can run here.
    """
    needed = {
        "python": python,
        "host": host,
        "llvm": llvm,
        "cache": cache,
        "jit": lambda: engine("jit"),
        "interp": lambda: engine("interp"),
    }
    useful = {
        "guests": guests,
        "mirror": check_mirror,
        "kvm": check_kvm,
        "sandbox": check_confinement,
    }
    healthy = [report(name, check, "FAIL") for name, check in needed.items()]
    useful |= {board.isa: partial(ways, board.name) for board in Machine.boards().values()}
    for name, check in useful.items():
        report(name, check, "no")
    return 0 if all(healthy) else ExitCode.UNAVAILABLE


def report(name: str, check: Callable[[], str], bad: str) -> bool:
    """Print what a check found; whether it found all well."""
    try:
        found, remedy, word = check(), "", "ok"
    except BimetalError as error:
        found, remedy, word = error.cause, error.remedy, bad
    click.echo(f"{word:4}  {name:8} {found}")
    if remedy:
        click.echo(f"{'':15}{remedy}")
    return word == "ok"


def python() -> str:
    """The interpreter, and this package."""
    if sys.version_info < OLDEST_PYTHON:
        raise BimetalError(f"Python {platform.python_version()} is too old", "use 3.11 or newer")
    return f"Python {platform.python_version()}, bimetal {__version__}"


def host() -> str:
    """The operating system and processor."""
    if sys.platform != "linux":
        raise BimetalError(f"{sys.platform} is not supported", "use Linux")
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = format_size(memory >> 20 << 20)
    return f"Linux {platform.release()} on {platform.machine()}, {cores} cores, {size}"


def llvm() -> str:
    """The code generator's library."""
    try:
        return f"llvmlite {version('llvmlite')}"
    except PackageNotFoundError:
        raise BimetalError("llvmlite is not installed", "pip install llvmlite") from None


def cache() -> str:
    """The folder for guests and generated code."""
    folder = cache_folder()
    if not os.access(folder, os.W_OK):
        raise BimetalError(f"{folder} cannot be written", "set XDG_CACHE_HOME to another folder")
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise BimetalError(
            f"{folder} has {free >> 20} MiB left", "make room, or set XDG_CACHE_HOME"
        )
    return f"{folder}, {size_of(folder) >> 20} MiB used, {free >> 30} GiB free"


def size_of(folder: Path) -> int:
    """Bytes of the files below ``folder``, on its file system; others may be at work there."""
    device, size = folder.stat().st_dev, 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                size += status.st_size if status.st_dev == device else 0
    return size


def engine(name: str) -> str:
    """Run a guest of four instructions on the accelerator ``name``."""
    with tempfile.NamedTemporaryFile() as program:
        program.write(PROGRAM)
        program.flush()
        with Machine(
            "riscv-virt",
            memory="16M",
            bios="none",
            kernel=program.name,
            kernel_format="raw",
            accel=name,
        ) as machine:
            machine.start()
            try:
                result = machine.wait(LIMIT)
            except TimeoutError:
                raise BimetalError(
                    f"a guest of four instructions did not end in {LIMIT} s",
                    "report it with the output of this command",
                ) from None
    if result.ending is not Ending.POWER_OFF or result.code != 0:
        raise BimetalError(f"a guest of four instructions ended so: {result}", "report it")
    return "runs RISC-V guests"


def ways(board: str) -> str:
    """What runs the machines of a board here."""
    found = Machine.accelerators(board)
    chosen = [name for name, why in found.items() if not why]
    whys = {why: ", ".join(name for name in found if found[name] == why) for why in found.values()}
    others = [f"{names}: {why}" for why, names in whys.items() if why]
    if chosen:
        return f"{board}, by {', '.join(chosen)}"
    first = next(iter(found))
    raise BimetalError(
        f"{board}, by nothing unless it is named ({'; '.join(others)})", f"try --accel {first}"
    )


def guests() -> str:
    """The guests that are on this host already."""
    here = [guest.name for guest in GUESTS.values() if cached_guest(guest)]
    if not here:
        raise BimetalError("none fetched yet", "bimetal fetch debian-riscv64")
    return ", ".join(here)
