"""External snapshots: what the guest writes from a moment on goes to new images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.chain import chain_of, check_kept, check_there, format_of
from bimetal.machine.live.moves import Moves, move_of
from bimetal.machine.live.seat import Seat

__all__ = ["check_overlay", "lay_over"]


def check_overlay(seat: Seat, overlay: Block) -> None:
    """Raise `BimetalError` unless an image can be laid over a disk."""
    below = seat.image
    check_kept(below)
    if below.readonly:
        raise BimetalError(
            f"the guest only reads {below.name!r}", "leave that disk away", ExitCode.USAGE
        )
    if not isinstance(below, RawImage | Qcow2Image):
        raise BimetalError(
            f"{below.name!r} is no file that an image could lie on",
            "copy the disk into one: blockdev-mirror",
            ExitCode.USAGE,
        )
    if not isinstance(overlay, Qcow2Image) or overlay.size != below.size:
        raise BimetalError(
            f"{overlay.name!r} is no qcow2 image of {below.size} bytes",
            f"make it: bimetal image create -f qcow2 -b {below.name} -F {format_of(below)}",
            ExitCode.USAGE,
        )
    check_there(overlay)


def lay_over(pairs: Sequence[tuple[Seat, Block]], note: Callable[[Moves], None]) -> None:
    """Lay images over disks, over all of them or over none, while the machine stands: what the
    guest writes from then on goes to those, and what it has written is safe in the others, which
    are only read. The new ones are closed with the disks. ``note`` is called before anything is
    written to them.

    Raises `BimetalError` and OSError, and then all is as it was.
    """
    if not pairs:
        return
    with ExitStack() as undo:
        for seat, overlay in pairs:
            check_overlay(seat, overlay)
            below = seat.image
            undo.callback(_unseal, below)
            below.seal()
        note({seat.name: move_of(seat, overlay, chain_of(seat.image)) for seat, overlay in pairs})
        for seat, overlay in pairs:
            below = chain_of(seat.image)[0]
            assert isinstance(overlay, Qcow2Image)
            seat.moved(overlay.name, format_of(overlay), chain_of(below))
            overlay.lie_on(below)
            seat.exchange(overlay)
        undo.pop_all()


def _unseal(image: Block) -> None:
    with suppress(BimetalError, OSError):
        image.unseal()
