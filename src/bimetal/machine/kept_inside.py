"""Snapshots of a machine inside its qcow2 disks: a part of `Machine`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from bimetal.base.errors import ExitCode
from bimetal.base.failing import host_failures
from bimetal.base.late import LateModule
from bimetal.machine.kept import KeptMachine
from bimetal.machine.live.seat import await_requests
from bimetal.machine.recipe import Recipe
from bimetal.machine.result import Ending, Result
from bimetal.machine.snapshots import check, check_same, standing, write_to
from bimetal.machine.still import check_plugged, settle

if TYPE_CHECKING:
    from bimetal.backends.block.qcow2 import changes
    from bimetal.machine import inner
else:
    changes = LateModule("bimetal.backends.block.qcow2.changes")
    inner = LateModule("bimetal.machine.inner")

__all__ = ["KeptInside"]


class KeptInside(KeptMachine):
    """The part of `Machine` whose words are QEMU's."""

    def savevm(self, name: str, *, stop: bool = False, replace: bool = True) -> None:
        """Keep the whole state of the machine, its disks too, under a name, inside its qcow2 disks,
        in place of an earlier one of that name, or only if there is none, unless it may ``replace``
        one; and go on, unless it is to ``stop``.

        Each disk to which the guest writes makes a snapshot, as ``qemu-img snapshot -l`` shows, and
        the first one keeps the state of the machine with it. Disks with ``snapshot`` and read-only
        ones are as for `save`. Raises `BimetalError` if a disk is not qcow2, or has no room.
        """
        runner = self._running_one("there is no state to keep")
        await_requests(runner)
        with standing(self._gate, self._clock), _failures(f"keep {name!r}"):
            settle(runner)
            images, others = inner.keepers_of(runner.hardware), inner.other_files(runner.hardware)
            if not replace:
                inner.check_new(images, name)
            fd = os.memfd_create("bimetal-state", os.MFD_CLOEXEC)
            try:
                write_to(fd, self._recipe(runner), runner, self._consoles, others)
                inner.keep(images, name, fd, self._clock.now_ns())
            finally:
                os.close(fd)
            settle(runner)
            if stop:
                self._gate.end(Result(Ending.STOPPED))

    def loadvm(self, name: str) -> None:
        """Bring the machine and its disks to the state that `savevm` has kept under a name, in this
        run or an earlier one; what the disks hold now is lost. Otherwise as `load`."""
        runner = self._one_to_load()
        with standing(self._gate, self._clock), _failures(f"go back to {name!r}"):
            settle(runner)
            images = inner.keepers_of(runner.hardware)
            snapshots = inner.named(images, name)
            with inner.opened(images[0], snapshots[0]) as reader:
                check_same(reader, self._recipe(runner))
                check_plugged(runner, Recipe.of(reader.manifest["machine"]).plugged)
                check(reader, runner, self._consoles)
                try:
                    for image, snapshot in zip(images, snapshots, strict=True):
                        changes.apply_snapshot(image, snapshot.identity)
                except BaseException as error:
                    why = f"its disks are not what they were in {name!r}: {error}"
                    self._gate.end(Result(Ending.STOPPED, ExitCode.IO_ERROR, why))
                    raise
                self._fill(reader, runner)

    def delvm(self, name: str) -> None:
        """Have the disks forget what `savevm` has kept under a name. Raises `BimetalError` if there
        is nothing of that name."""
        runner = self._built()
        if self._gate.started and not self._gate.over.is_set():
            await_requests(runner)
        with runner.held(), _failures(f"forget {name!r}"):
            settle(runner)  # or a request that is under way changes the same images
            inner.forget(inner.keepers_of(runner.hardware), name)

    @property
    def snapshots(self) -> list[str]:
        """The names under which `savevm` has kept states, or QEMU has; the oldest first."""
        return list(self.kept_states())

    def kept_states(self) -> dict[str, int]:
        """The names of `snapshots`, and when each was made, in seconds since 1970."""
        runner = self._built()
        with runner.held(), _failures("read its snapshots"):
            first = inner.keepers_of(runner.hardware)[0]
            kept = [snapshot for snapshot in first.snapshots() if snapshot.state_size]
            return {snapshot.name: snapshot.seconds for snapshot in kept}


def _failures(what: str) -> AbstractContextManager[None]:
    """A context in which the host's errors are those of the user's disks."""
    return host_failures(
        f"the machine cannot {what}", "check the host's disk, and the images: bimetal image check"
    )
