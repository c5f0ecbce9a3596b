"""Looking for what is wrong with an image, and mending it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from bimetal.backends.block.choose import image_format
from bimetal.backends.block.commands import quoted
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2
from bimetal.backends.block.purpose import Purpose
from bimetal.backends.block.qcow2.examine import Examination, Findings
from bimetal.backends.block.qcow2.header import read_header
from bimetal.base.errors import BimetalError
from bimetal.images.opening import telling

__all__ = ["UNSUPPORTED", "Check", "check"]

Repair = Literal["leaks", "all"]

UNSUPPORTED = 63
"""The exit code for a format that has nothing to check."""


class Check(Struct, frozen=True):
    """What a check of the image at ``path`` found in the end, and what was mended before that:
    clusters that were ``leaks``, and ``corruptions``. ``messages`` says each fault."""

    path: str
    format: str
    findings: Findings
    leaks_fixed: int = 0
    corruptions_fixed: int = 0
    messages: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, leaks aside."""
        return not self.findings.corruptions and not self.findings.errors


def check(
    path: str,
    *,
    format: str | None = None,
    repair: Repair | None = None,
    shared: bool = False,
) -> Check:
    """Look at all tables of the image at ``path``. ``repair`` mends clusters that are counted and
    not used (``"leaks"``), or also counts and marks that are wrong (``"all"``). What it cannot mend
    it leaves as it is."""
    purpose = Purpose(readonly=repair is None, format=format)
    file = ImageFile(path, purpose, lock=not shared)
    with telling(f"the image {path!r} cannot be checked"):
        try:
            kind = image_format(file, purpose)
            if kind != QCOW2:
                raise BimetalError(
                    f"images of the format {kind} have nothing that could be checked",
                    f"compare it with another one: bimetal image compare {quoted(path)} OTHER",
                    UNSUPPORTED,
                )
            return _check(file, repair)
        finally:
            file.close()


def _check(file: ImageFile, repair: Repair | None) -> Check:
    first = _examine(file)
    before = first.findings
    if repair is None:
        return Check(file.path, QCOW2, before, messages=before.messages)
    if repair == "all" and (before.corruptions or before.leaks) and first.can_mend:
        first.mend_all()
    elif before.leaks and not before.corruptions and not before.errors:
        first.mend_leaks()
    file.refresh()
    after = _examine(file).findings
    return Check(
        file.path,
        QCOW2,
        after,
        max(before.leaks - after.leaks, 0),
        max(before.corruptions - after.corruptions, 0),
        before.messages,
    )


def _examine(file: ImageFile) -> Examination:
    examination = Examination(file, read_header(file))
    examination.run()
    return examination
