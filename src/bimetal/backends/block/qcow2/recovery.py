"""What must be done before an image is written: look whether it is sound, mend what a crash left
behind, and mark as outdated what other programs keep in it and this one does not."""

from __future__ import annotations

from bimetal.backends.block.commands import repair_command
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.bitmaps import mark_in_use
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.header import (
    AUTOCLEAR_AT,
    BITMAPS_VALID,
    CORRUPT,
    DIRTY,
    FEATURES_AT,
    RAW_DATA,
    Header,
)
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.survey import survey
from bimetal.backends.block.qcow2.words import write_all
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger

__all__ = ["make_writable", "mark_damaged"]


def make_writable(
    file: ImageFile, header: Header, pointers: Pointers, *, keeps: bool = False
) -> References:
    """Prepare the image in ``file`` for writing. Clusters that are counted and not used are freed.
    Dirty bitmaps are marked as outdated, unless the caller ``keeps`` them up.

    Raises `BimetalError` if the image may not be written, `DamagedImage` if it contradicts itself,
    and is left as it is, and OSError.
    """
    if header.features & CORRUPT:
        raise BimetalError(
            f"the qcow2 image {file.path!r} is damaged, and was marked so when that was found",
            f"copy it and then repair it ({repair_command(file.path)}), or open it with readonly "
            "or snapshot",
            ExitCode.DATA,
        )
    counts = Counts(file, header, pointers)
    used = survey(file, header, counts)
    if header.version >= 3 and header.autoclear:
        _outdate(file, header, keeps)
    outdated = header.features & DIRTY
    if outdated or not header.foreign:  # what only other programs know of may use clusters, too
        wrong = counts.replace(used)
        if wrong:
            what = "were counted wrong" if outdated else "that nobody uses were counted as used"
            logger(f"block.{file.path}").info("%d clusters %s: mended", wrong, what)
    file.flush()
    if outdated:
        header.features &= ~DIRTY
        write_all(file.fd, header.features.to_bytes(8, "big"), FEATURES_AT)
    return References(file, header, counts)


def mark_damaged(file: ImageFile, header: Header) -> None:
    """Note in the image, if it has a place for that, that it is damaged. Raises OSError."""
    if header.version >= 3 and not header.features & CORRUPT:
        header.features |= CORRUPT
        write_all(file.fd, header.features.to_bytes(8, "big"), FEATURES_AT)
        file.flush()


def _outdate(file: ImageFile, header: Header, keeps: bool) -> None:
    """Mark what is not kept up here. Bitmaps stay where they are, and say that they are not to be
    believed; of what else others keep in the image, the header says that it is outdated."""
    names = "" if keeps else ", ".join(map(repr, mark_in_use(file, header)))
    if names:
        logger(f"block.{file.path}").warning(
            "%s: the dirty bitmaps %s are not kept up here and are inconsistent from now on; "
            "the next backup must be a full one",
            file.path,
            names,
        )
    kept = header.autoclear & RAW_DATA
    if header.bitmaps is not None:
        kept |= header.autoclear & BITMAPS_VALID
    if kept != header.autoclear:
        header.autoclear = kept
        write_all(file.fd, kept.to_bytes(8, "big"), AUTOCLEAR_AT)
