"""MODE SENSE: pages about how a unit works (SPC-4, 6.13 and 7.5)."""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.devices.scsi.sense import BAD_FIELD, CheckCondition
from bimetal.devices.scsi.unit import Command, Work, number, page

__all__ = ["sense_modes"]

ALL_PAGES = 0x3F
CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)


def sense_modes(command: Command, pages: Mapping[int, bytes], specific: int = 0) -> Work:
    """Answer MODE SENSE of 6 or 10 bytes by ``pages``, none of which can be changed; ``specific``
    is the byte of the header that means something else to each kind of unit."""
    cdb = command.cdb
    short, code, which = cdb[0] == 0x1A, cdb[2] & 0x3F, cdb[2] >> 6
    if (code != ALL_PAGES and code not in pages) or which == SAVED or cdb[3] not in (0, 0xFF):
        raise CheckCondition(BAD_FIELD)
    body = b"".join(
        page(each, bytes(len(data)) if which == CHANGEABLE else data)
        for each, data in sorted(pages.items())
        if code in (ALL_PAGES, each)
    )
    if short:
        header = bytes((len(body) + 3, 0, specific, 0))
    else:
        header = (len(body) + 6).to_bytes(2, "big") + bytes((0, specific, 0, 0, 0, 0))
    return command.give(header + body, cdb[4] if short else number(cdb, 7, 2))
