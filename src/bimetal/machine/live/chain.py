"""The images of a running machine's disk, each of which lies on the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from bimetal.backends.block.block import Block
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.qcow2.changes import lay_on
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.snapshots import Snapshot
from bimetal.backends.block.raw import RawImage
from bimetal.backends.block.watched import WatchedDisk
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.base.paths import same_file
from bimetal.machine.live.image_at import BitmapView, ImageAt

__all__ = [
    "between",
    "chain_of",
    "check_kept",
    "check_there",
    "cluster_of",
    "detach",
    "format_of",
    "place_in",
    "rename_backing",
    "seal_at_last",
    "stand_alone",
    "view_of",
]


def chain_of(image: Block) -> list[Block]:
    """The images, from what the guest writes to downwards."""
    return list(_downwards(image))


def _downwards(image: Block) -> Iterator[Block]:
    found: Block | None = image
    while isinstance(found, WatchedDisk):
        found = found.inner
    while found is not None:
        yield found
        found = found.backing if isinstance(found, Qcow2Image) else None


def format_of(image: Block) -> str:
    """What the format of an image is called."""
    return "qcow2" if isinstance(image, Qcow2Image) else "raw" if isinstance(image, RawImage) else (
        type(image).__name__.removesuffix("Image").lower()
    )  # fmt: skip


def cluster_of(image: Block) -> int | None:
    """The bytes of its clusters, if it has such."""
    return image.header.cluster if isinstance(image, Qcow2Image) else None


def view_of(image: Block) -> ImageAt:
    """What is told of an image."""
    bitmaps = tuple(
        BitmapView(
            each.name,
            each.count,
            each.granularity,
            each.recording,
            each.busy,
            each.persistent,
            each.inconsistent,
        )
        for each in image.bitmaps or ()
    )
    limit, file_limit = (
        0 if image.bitmaps is None else image.bitmaps.limit(of_file=of_file)
        for of_file in (False, True)
    )
    return ImageAt(
        image.name,
        format_of(image),
        image.size,
        image.readonly,
        cluster_of(image),
        bitmaps,
        limit,
        file_limit,
        tuple(_snapshots_in(image)),
    )


def _snapshots_in(image: Block) -> list[Snapshot]:
    """The snapshots in an image; none of one whose table of them is damaged."""
    with suppress(OSError):
        return image.snapshots() if isinstance(image, Qcow2Image) else []
    return []


def check_kept(image: Block) -> None:
    """Raise `BimetalError` if what the guest writes to the disk is forgotten at the end."""
    if isinstance(image, Overlay):
        raise BimetalError(
            f"what the guest writes to {image.name} is not kept",
            "give the machine that disk without snapshot",
            ExitCode.USAGE,
        )


def check_there(image: Block) -> None:
    """Raise `BimetalError` if somebody has removed an image, which would be lost with the machine's
    end. Raises OSError."""
    if any(each.removed for each in image.images()):
        raise BimetalError(
            f"{image.name!r} was removed meanwhile", "make it again", ExitCode.NO_INPUT
        )


def place_in(chain: Sequence[Block], path: str, what: str) -> int:
    """How deep the image at ``path`` lies in a chain. Raises `BimetalError`, which calls it
    ``what``."""
    for depth, image in enumerate(chain):
        if same_file(image.name, path):
            return depth
    raise BimetalError(
        f"the {what} {path!r} is none of the images of the disk",
        f"it has {', '.join(image.name for image in chain)}",
        ExitCode.USAGE,
    )


def between(chain: Sequence[Block], top: int, base: int) -> Sequence[Block]:
    """The images from the depth ``top`` down to that above ``base``. Raises `BimetalError` if the
    base is not below, or is larger than one of them: what it has behind their ends would appear."""
    if base <= top:
        raise BimetalError(
            f"{chain[top].name!r} does not lie on {chain[base].name!r}",
            "name an image below it: bimetal image info --backing-chain",
            ExitCode.USAGE,
        )
    for image in chain[top:base]:
        if image.size < chain[base].size:
            raise BimetalError(
                f"{chain[base].name!r} is larger than {image.name!r}, which lies on it",
                "make them equal: bimetal image resize, while the machine is off",
                ExitCode.USAGE,
            )
    return chain[top:base]


def rename_backing(image: Block, name: str | None, format: str | None) -> None:
    """Have an image, which may be one that others lie on, name another backing file, or none, for
    whoever opens it. Raises `BimetalError`, and OSError."""
    if not isinstance(image, Qcow2Image):
        raise BimetalError(
            f"{image.name!r} is no qcow2 image and names no other",
            "make one of it: bimetal image convert -O qcow2",
            ExitCode.USAGE,
        )
    sealed = image.readonly
    if sealed:
        image.unseal()
    try:
        lay_on(image, name, format)
    finally:
        if sealed:
            image.seal()


def detach(image: Block, base: Block | None) -> list[Block]:
    """Have an image show ``base`` where it says nothing itself, in place of those between, which
    are returned and are to be closed. Call while nobody reads."""
    if not isinstance(image, Qcow2Image):
        return []
    removed = list[Block]()
    for each in chain_of(image)[1:]:
        if each is base:
            break
        removed.append(each)
    image.lie_on(base)
    for each in removed:
        stand_alone(each)
    return removed


def stand_alone(image: Block) -> None:
    """Have an image, which is about to be closed, lie on nothing: that is not closed with it."""
    if isinstance(image, Qcow2Image):
        image.lie_on(None)


def seal_at_last(image: Block) -> None:
    """Have an image, of which the work is over, only read from now on. It never fails: if what was
    written cannot be made safe, that is told."""
    try:
        image.seal()
    except OSError as error:
        logger(f"block.{image.name}").error("what was written to it may be lost: %s", error)
