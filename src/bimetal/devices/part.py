"""What a device, or what a slot carries, does when its machine is saved or copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bimetal.base.state import Stateful
from bimetal.memory.contents import Area, Stored

__all__ = ["Part"]


class Part(Stateful):
    """Has state (`Stateful`), and perhaps more of it outside of its attributes."""

    def settle(self) -> None:
        """A snapshot is about to be made, and no CPU runs: finish what is under way on the host, or
        take it back so that it is begun anew after `load`; have the host write what it holds."""

    def let_go(self) -> None:
        """The machine's memory is about to become another one's, and no CPU runs: return once
        nothing on the host works on it any more. `settle` does that too."""

    def try_again(self) -> None:
        """The machine goes on: try again what the host has failed to do."""

    def areas(self) -> Mapping[str, Area]:
        """Memory of its own whose contents are state, by name: a snapshot keeps them apart from the
        values of `save`, and restores them after `load`."""
        return {}

    def stored(self) -> Iterable[Stored]:
        """What holds a part of the state in files of the host, such as disks: a snapshot is of use
        as long as these are what they were after `settle`."""
        return ()

    def come_here(self) -> None:
        """The machine comes from another process, and its disks with it, which were only waited for
        (`virtio.disk.ComingDisk`). Call before `load`. Raises `BimetalError` if one cannot be
        had."""

    def become_another(self) -> None:
        """The machine is another from now on, restored from a file: what is to be unique must be
        so again."""

    def check_forkable(self) -> None:
        """Raise `BimetalError` if it cannot be in two processes at once."""

    def stack(self) -> None:
        """The process is about to be copied, after `settle`: what is on the host now belongs to all
        copies, and is not changed any more. Raises `BimetalError`."""

    @property
    def renews(self) -> bool:
        """Whether `forked` does anything. Copies are not asked: each page on which such an answer
        lies would have to be copied for them."""
        return type(self).forked is not Part.forked

    def forked(self) -> None:
        """The machine is in a copy of its process: use nothing of the host that the other one uses,
        too."""
