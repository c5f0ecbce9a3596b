"""Machines in files: saving one, and making one of what was saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.failing import host_failures
from bimetal.base.sizes import format_size
from bimetal.machine.changing import announced, check_change, state_for
from bimetal.machine.consoles import Consoles
from bimetal.machine.gate import VcpuGate
from bimetal.machine.recipe import Recipe, check_files, reach_of, stamps_of
from bimetal.machine.runner import Runner
from bimetal.machine.sockets import Plugged
from bimetal.machine.still import (
    areas_of,
    check_fits,
    load_machine,
    name_of,
    plugged_in,
    save_machine,
    seen,
    settle,
    stored_of,
)
from bimetal.memory.contents import Area
from bimetal.memory.ram import Ram, host_memory
from bimetal.snapshot.layout import MAGIC, damaged
from bimetal.snapshot.replacing import replacing
from bimetal.snapshot.writer import Writer

__all__ = [
    "Held",
    "check",
    "check_alike",
    "check_plugs",
    "check_same",
    "fill",
    "recipe_in",
    "standing",
    "write",
    "write_to",
]


class Held(Protocol):
    """What a machine is made of again: a snapshot (`Reader`), or one that comes from another
    process. ``path`` is what messages call it; methods raise `BimetalError`."""

    path: str
    manifest: Mapping[str, Any]

    def check(self) -> None:
        """Raise if a part of it is damaged."""

    def map_into(self, name: str, memory: Ram) -> None:
        """Give ``memory``, which is all zeroes, the content of an area of that name."""

    def copy_into(self, name: str, area: Area) -> None:
        """Give ``area`` its content."""


@contextmanager
def standing(gate: VcpuGate, clock: Clock) -> Iterator[None]:
    """The machine stands still, and so does its time; afterwards it goes on as before."""
    with gate.hold():
        runs = gate.started and not gate.paused and not gate.over.is_set()
        clock.pause()
        try:
            yield
        finally:
            if runs and not gate.over.is_set():
                clock.resume()


def write(
    path: str,
    recipe: Recipe,
    runner: Runner,
    consoles: Consoles,
    *,
    compress: bool = False,
    label: str = "",
) -> None:
    """Save a machine that is standing to a new file at ``path``. Raises `BimetalError`, and then an
    older file there is as it was."""
    _check_target(path)
    settle(runner)
    for disk in stored_of(runner.hardware):
        with host_failures("what the guest has written to a disk cannot be made safe"):
            disk.rest()  # or whoever goes on with the state would never hear that it is lost
    try:
        with replacing(path) as fd:
            paths = [path for disk in stored_of(runner.hardware) for path in disk.files()]
            write_to(fd, recipe, runner, consoles, paths, compress=compress, label=label)
    except OSError as error:
        raise BimetalError(
            f"the machine cannot be saved to {path}: {error.strerror or error}",
            "make room there, or choose another place; the machine and an older snapshot are as "
            "they were",
            ExitCode.IO_ERROR,
        ) from error


def write_to(
    fd: int,
    recipe: Recipe,
    runner: Runner,
    consoles: Consoles,
    paths: Iterable[str],
    *,
    compress: bool = False,
    label: str = "",
) -> None:
    """Save a machine that is standing and settled to an empty file, as one that belongs to the
    files at ``paths`` as they are now. Raises OSError, and `BimetalError`."""
    with Writer(fd, compress=compress) as writer:
        for number, ram in enumerate(runner.hardware.memories):
            writer.add(name_of(number, ram.name), ram.size, ram.contents())
        for name, area in areas_of(runner.hardware).items():
            writer.add(name, area.size, area.contents())
        writer.finish(
            {
                "machine": recipe.plain(),
                "state": save_machine(runner, consoles),
                "files": stamps_of(paths),
                "label": label,
            }
        )


def recipe_in(reader: Held, *, trust: bool) -> Recipe:
    """What the machine in a snapshot is made of, if its disks are what they were, and it reaches no
    more of the host unless its maker has our ``trust``. Raises `BimetalError`."""
    try:
        recipe = Recipe.of(reader.manifest["machine"])
        files = reader.manifest["files"]
        _check_trusted(recipe.reaches_out(files), f"the machine in {reader.path}", trust=trust)
        if recipe.config.memory > host_memory():
            raise BimetalError(
                f"the machine in {reader.path} has {format_size(recipe.config.memory)} of memory, "
                "more than this host",
                "restore it on a host that has so much",
                ExitCode.UNAVAILABLE,
            )
        check_files(files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(reader, error) from error
    return recipe


def check_plugs(reader: Held, mine: Sequence[Plugged], *, trust: bool) -> None:
    """Raise `BimetalError` if devices were plugged into a machine that comes, and not into this
    one, which has ``mine``, and they reach more of the host than the files that are known to be
    what they were, unless who sends it has our ``trust``."""
    try:
        plugged = Recipe.of(reader.manifest["machine"]).plugged
        new = [] if seen(plugged) == seen(mine) else [one for one in plugged if one not in mine]
        reaching = reach_of(new, reader.manifest["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(reader, error) from error
    _check_trusted(reaching, "what was plugged into the machine that comes", trust=trust)


def _check_trusted(reaching: Sequence[str], what: str, *, trust: bool) -> None:
    if reaching and not trust:
        raise BimetalError(
            f"{what} reaches more of this host than disks that are known: {', '.join(reaching)}",
            "if you know who has made it, have it restored, or arrive, with trust (--trust)",
            ExitCode.NO_PERMISSION,
        )


def check_same(reader: Held, mine: Recipe) -> None:
    """Raise `BimetalError` unless a snapshot is one of a machine like ``mine``, and its disks are
    what they were: then its state can be loaded into that."""
    check_alike(reader, mine)
    try:
        check_files(reader.manifest["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(reader, error) from error


def check_alike(reader: Held, mine: Recipe) -> None:
    """Raise `BimetalError` unless a snapshot is one of a machine like ``mine``."""
    try:
        theirs, mine = Recipe.of(reader.manifest["machine"]), Recipe.of(mine.plain())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(reader, error) from error
    for what, (one, other) in {
        "board": (mine.board, theirs.board),
        "processor": (announced(mine), announced(theirs)),
        "memory": (format_size(mine.config.memory), format_size(theirs.config.memory)),
        "number of CPUs": (mine.config.cpus, theirs.config.cpus),
        "equipment": (_equipment(mine), _equipment(theirs)),
    }.items():
        if one != other:
            raise BimetalError(
                f"the snapshot {reader.path} is of another machine: its {what} is {other}, not "
                f"{one}",
                "load it into a machine like that, or restore it, which makes one",
                ExitCode.USAGE,
            )


def _equipment(recipe: Recipe) -> str:
    """The devices that users add, as far as guests see them, in words."""
    config = recipe.config
    parts = [f"disk {disk.path}" for disk in config.disks]
    parts += [f"NIC {number}" for number in range(len(config.nics))]
    parts += [f"share {share.tag}" for share in config.shares]
    parts += [f"port {port.name}" for port in config.ports]
    parts += [f"CD-ROM drive on {each.bus}" for each in config.cdroms]
    parts += [f"video {config.video.kind}"] if config.video else []
    parts += [f"{each.kind} on {each.bus}" for each in config.inputs]
    parts += [config.usb.model] if config.usb else []
    parts += [f"USB hub {number}" for number in range(len(config.hubs))]
    parts += ["vsock"] * bool(config.vsock) + ["balloon"] * config.balloon + ["hvc"] * recipe.hvc
    return ", ".join(parts) or "none"


def check(reader: Held, runner: Runner, consoles: Consoles) -> None:
    """Raise `BimetalError` for a snapshot that is damaged, or does not fit a machine."""
    try:
        check_change(Recipe.of(reader.manifest["machine"]), runner.accelerator.name, reader.path)
        if seen(Recipe.of(reader.manifest["machine"]).plugged) == seen(plugged_in(runner)):
            check_fits(runner, consoles, reader.manifest["state"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(reader, error) from error
    reader.check()


def fill(
    reader: Held, runner: Runner, consoles: Consoles, reactor: Reactor, *, anew: bool = True
) -> None:
    """Put what a snapshot holds, after `check`, into a machine that was made by its recipe or like
    it, and is standing; it is another one than that, unless it is not ``anew``. Raises
    `BimetalError`, and then the machine is of no use."""
    try:
        plugged = Recipe.of(reader.manifest["machine"]).plugged
        if seen(plugged) != seen(plugged_in(runner)):
            _plug(runner, plugged, reactor)
        for number, ram in enumerate(runner.hardware.memories):
            ram.clear()
            reader.map_into(name_of(number, ram.name), ram)
        load_machine(runner, consoles, state_for(reader.manifest, runner))
        for name, area in areas_of(runner.hardware).items():
            reader.copy_into(name, area)
        for placement in runner.hardware.placements if anew else ():
            placement.device.become_another()
    except BimetalError:
        raise
    except OSError as error:
        raise BimetalError(
            f"the machine cannot be restored: {error.strerror or error}",
            "make room on the host's disk",
            ExitCode.IO_ERROR,
        ) from error
    except Exception as error:  # whatever a state that somebody made up leads to
        raise _unknown(reader, error) from error


def _plug(runner: Runner, plugged: list[Plugged], reactor: Reactor) -> None:
    hardware = runner.hardware
    on_usb = [each for each in plugged if each.socket]
    in_slots = [each for each in plugged if not each.socket]
    if (in_slots and hardware.sockets is None) or (on_usb and hardware.usb is None):
        raise ValueError("a board without slots")
    if hardware.sockets is not None:
        hardware.sockets.become(in_slots, reactor)
    if hardware.usb is not None:
        hardware.usb.become(on_usb)


def _unknown(reader: Held, error: Exception) -> BimetalError:
    return damaged(
        reader.path, f"or another version of Bimetal has made it: {type(error).__name__}, {error}"
    )


def _check_target(path: str) -> None:
    """Raise `BimetalError` for a place where something else lies than a snapshot."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise BimetalError(
            f"the folder {folder} for the snapshot is not there", "make it", ExitCode.USAGE
        )
    try:
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise BimetalError(
            f"the machine cannot be saved to {path}: {error.strerror}",
            "choose another path",
            ExitCode.USAGE,
        ) from error
    if start not in (b"", MAGIC):
        raise BimetalError(
            f"{path} is there, and is no snapshot",
            "choose another path, or remove the file",
            ExitCode.USAGE,
        )
