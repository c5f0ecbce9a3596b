"""The places of a machine's disks, in which one image is exchanged for another under the guest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from bimetal.backends.block.block import Block
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.patient import PatientDevice
from bimetal.devices.virtio.scsi import VirtioScsi
from bimetal.machine.config import Disk
from bimetal.machine.nics import macs_of
from bimetal.machine.runner import Runner
from bimetal.machine.wanted import SCSI, USB

__all__ = ["HELD_SECONDS", "Seat", "await_requests", "seats_of"]

HELD_SECONDS = 20.0
"""Seconds for which somebody who asks for something waits for the guest's requests."""

IN_SLOT = "@port"
"""What the names of devices have before the number of the slot in which they were plugged."""

Result = TypeVar("Result")


class Seat(Struct, frozen=True):
    """The disk that is called ``name``: ``disk0`` and so on for those that the machine was built
    with, and for others the name of the device. ``device`` carries out its requests, and ``part``
    is the disk in it. ``number`` is its place in the configuration, or -1, ``slot`` the slot that
    it was plugged into, or 0."""

    runner: Runner
    name: str
    device: PatientDevice
    part: VirtioBlock | ScsiDisk
    number: int = -1
    slot: int = 0

    @property
    def config(self) -> Disk:
        """What it was described as, with the image that it has now."""
        if not self.slot:
            return self.runner.hardware.config.disks[self.number]
        sockets = self.runner.hardware.sockets
        given = [] if sockets is None else [each.disk for each in sockets.plugged()
                                            if each.slot == self.slot]  # fmt: skip
        if not given or given[0] is None:
            raise _gone(self.name)
        return given[0]

    @property
    def image(self) -> Block:
        """What the guest sees the content of."""
        medium = self.part.disk if isinstance(self.part, VirtioBlock) else self.part.medium
        return cast(Block, medium)

    def exchange(self, image: Block) -> None:
        """Have the guest see ``image``, which has the same content, from now on. Call with the
        machine's lock held, while nothing is under way."""
        if isinstance(self.part, VirtioBlock):
            self.part.exchange(image)
        else:
            self.part.disk = image

    def moved(self, path: str, format: str, below: Sequence[Block]) -> None:
        """Note that its image is another one now, which lies on those ``below``. NICs keep the
        addresses that follow from the images that there were. Call with the machine's lock held."""
        known, config = self.config, self.runner.hardware.config
        macs = macs_of(config.nics, [disk.path for disk in config.disks])
        config.nics[:] = [replace(nic, mac=mac) for nic, mac in zip(config.nics, macs, strict=True)]
        folders = [os.path.dirname(os.path.abspath(each.name)) for each in below]
        allowed = tuple(dict.fromkeys((*known.backing_folders, *folders)))
        self.describe(replace(known, path=path, format=format, backing_folders=allowed))

    def describe(self, disk: Disk) -> None:
        """Note what it is from now on. Call with the machine's lock held."""
        sockets = self.runner.hardware.sockets
        if not self.slot:
            self.runner.hardware.config.disks[self.number] = disk
        elif sockets is not None:
            sockets.moved(self.slot, disk)

    def check_there(self) -> None:
        """Raise `BimetalError` if the disk is gone."""
        if self.device.gone or self.runner.closed:
            raise _gone(self.name)

    def visit(
        self,
        job: Callable[[], Result],
        then: Callable[[Result], object] = lambda result: None,
        *,
        standing: bool = False,
        seconds: float | None = None,
        leave: bool = False,
    ) -> Result:
        """What ``job`` returns, which is called while the guest's requests wait, without the
        machine's lock; and then, with the lock held, ``then`` is called with that, before any
        request is carried out. If the machine is ``standing``, and settled, and the lock held, both
        are done at once. Raises what they raise, and `BimetalError` if the disk is gone, or if a
        request holds it off for so many ``seconds``, and then nothing is done. What has begun has
        its end, however long the host holds it; of what one may ``leave``, a `BimetalError` says
        after as many seconds more that it has not come yet."""
        if standing:
            result = job()
            then(result)
            return result
        results, failures, over = list[Result](), list[BaseException](), threading.Event()

        def work() -> None:
            try:
                results.append(job())
            except BaseException as failure:
                failures.append(failure)

        def done() -> None:
            try:
                if results:
                    then(results[0])
            except BaseException as failure:
                failures.append(failure)
            finally:
                over.set()

        with self.runner.gate.lock:
            self.check_there()
            self.device.visit(work, done)
        if not over.wait(seconds):
            with self.runner.gate.lock:
                if self.device.withdraw(done):
                    raise _held(self, seconds)
            if not over.wait(seconds if leave else None):
                raise _left(self, seconds)
        if failures:
            raise failures[0]
        return results[0]


def await_requests(runner: Runner) -> None:
    """Return when the host has done the requests of the disks that were made before. For who is
    going to wait for requests with the machine's lock held: that takes no longer than it must.
    Raises `BimetalError` if the host holds one."""
    with runner.locked():
        seats = [*seats_of(runner)]
    for seat in seats:
        seat.visit(lambda: None, seconds=HELD_SECONDS)


def _held(seat: Seat, seconds: float | None) -> BimetalError:
    return BimetalError(
        f"the host holds a request of {seat.name}, to {seat.image.name!r}, for longer than "
        f"{seconds:.0f} seconds",
        "see to the host's disk, or to what it is reached by, and do it again",
        ExitCode.UNAVAILABLE,
    )


def _left(seat: Seat, seconds: float | None) -> BimetalError:
    return BimetalError(
        f"the host does not do what was begun for {seat.name}, in {seat.image.name!r}, for longer "
        f"than {seconds:.0f} seconds",
        "it will be done once the host goes on: see to its disk, or to what it is reached by",
        ExitCode.UNAVAILABLE,
    )


def _gone(name: str) -> BimetalError:
    return BimetalError(
        f"the disk {name} is not in the machine any more", "plug it in again", ExitCode.UNAVAILABLE
    )


def seats_of(runner: Runner) -> Iterator[Seat]:
    """The disks but those on USB: those that the machine was built with, in their order, and then
    those that were plugged in. Call with the machine's lock held."""
    hardware = runner.hardware
    sockets = hardware.sockets
    plugged = set[int]() if sockets is None else {
        each.slot for each in sockets.plugged() if each.disk is not None
    }  # fmt: skip
    later, built_in = list[Seat](), list[VirtioBlock]()
    units = list[tuple[VirtioScsi, ScsiDisk]]()
    for placement in hardware.placements:
        slot = placement.device.name.partition(IN_SLOT)[2]
        for part in placement.device.parts():
            if isinstance(part, VirtioScsi):
                units += [(part, unit) for unit in part.units if isinstance(unit, ScsiDisk)]
            elif not isinstance(part, VirtioBlock):
                continue
            elif slot and int(slot) in plugged:
                later.append(Seat(runner, placement.device.name, part, part, slot=int(slot)))
            elif not slot:
                built_in.append(part)
    for number, disk in enumerate(hardware.config.disks):
        if disk.bus == USB:
            continue
        if disk.bus == SCSI:
            host, unit = units.pop(0)
            yield Seat(runner, f"disk{number}", host, unit, number)
        else:
            device = built_in.pop(0)
            yield Seat(runner, f"disk{number}", device, device, number)
    yield from later
