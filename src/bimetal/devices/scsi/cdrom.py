"""A CD-ROM drive, whose medium can be changed (MMC-6)."""

from __future__ import annotations

from bimetal.devices.scsi.blocks import BlockUnit
from bimetal.devices.scsi.modes import sense_modes
from bimetal.devices.scsi.sense import LOCKED, NEW_MEDIUM, CheckCondition
from bimetal.devices.scsi.unit import Command, Work, number
from bimetal.devices.virtio.disk import Disk

__all__ = ["ScsiCdrom"]

CD_PROFILE, DVD_PROFILE = 0x0008, 0x0010
CD_BLOCKS = 80 * 60 * 75
"""Blocks of the longest CD; what is larger is a DVD."""

MEDIUM_CLASS = 4
NO_CHANGE, EJECT_REQUEST, NEW_MEDIUM_EVENT, MEDIUM_REMOVAL = 0, 1, 2, 3
"""Events of the medium (MMC-6, 6.6.2.6)."""

LEAD_OUT = 0xAA

CAPABILITIES = bytes((0x03, 0x00, 0x01, 0x00, 0x29, 0x00)) + bytes(12)
"""Mode page 0x2A: reads CD-R and CD-RW; a tray that can be locked and opened."""


class ScsiCdrom(BlockUnit):
    """A drive with the medium ``disk``, if there is one. Media are only read."""

    kind = 0x05
    removable = True
    product = b"CD-ROM"
    block = 2048
    handlers = {
        **BlockUnit.handlers,
        **dict.fromkeys((0x28, 0xA8), "read"),
        **dict.fromkeys((0x1A, 0x5A), "modes"),
        0x1B: "start_stop",
        0x1E: "prevent",
        0x25: "capacity",
        0x43: "contents",
        0x46: "configuration",
        0x4A: "events",
    }
    saved = ("locked", "open", "event")

    def __init__(self, disk: Disk | None = None, serial: str = ""):
        super().__init__(disk, serial)
        self.locked = self.open = False
        self.event = NO_CHANGE

    def reset(self) -> None:
        super().reset()
        self.locked = self.open = False
        self.event = NO_CHANGE

    # For the machine

    def insert(self, disk: Disk | None) -> None:
        """Change the medium; None takes it out. The old one is closed. The guest is told when it
        asks, and cannot prevent it."""
        old, self.disk, self.media = self.disk, disk, self.media + 1
        if old is not None:
            old.close()
        self.open = False
        self.event = MEDIUM_REMOVAL if disk is None else NEW_MEDIUM_EVENT
        told = NEW_MEDIUM.key, NEW_MEDIUM.code, NEW_MEDIUM.qualifier
        self.attention = None if disk is None else told

    # Commands

    def modes(self, command: Command) -> Work:
        """MODE SENSE."""
        return sense_modes(command, {0x01: bytes((0, 5, *bytes(8))), 0x2A: CAPABILITIES})

    def start_stop(self, command: Command) -> Work:
        """START STOP UNIT: opens and closes the tray."""
        load_eject, start = command.cdb[4] & 2, command.cdb[4] & 1
        if load_eject:
            if self.locked and not start and not self.open:
                raise CheckCondition(LOCKED)
            if not start and self.disk is not None:
                self.insert(None)
            self.open = not start
        yield 0
        return 0

    def prevent(self, command: Command) -> Work:
        """PREVENT ALLOW MEDIUM REMOVAL, by the guest itself."""
        self.locked = bool(command.cdb[4] & 1)
        yield 0
        return 0

    def contents(self, command: Command) -> Work:
        """READ TOC: one track of data, in one session."""
        form, minutes = command.cdb[2] & 0xF or command.cdb[9] >> 6, command.cdb[1] & 2
        self.check_field(form in (0, 1))
        first = command.cdb[6]
        blocks = self.blocks
        tracks = [(1, 0), (LEAD_OUT, blocks)] if form == 0 else [(1, 0)]
        if form == 0:
            self.check_field(first <= 1 or first == LEAD_OUT)
            tracks = [each for each in tracks if each[0] >= first]
        body = bytes((1, 1))
        for track, at in tracks:
            place = _minutes(at) if minutes else at.to_bytes(4, "big")
            body += bytes((0, 0x14, track, 0)) + place
        return command.give(len(body).to_bytes(2, "big") + body, number(command.cdb, 7, 2))

    def configuration(self, command: Command) -> Work:
        """GET CONFIGURATION: what the drive can do, and with this medium."""
        which, first = command.cdb[1] & 3, number(command.cdb, 2, 2)
        profile = self._profile
        features = [
            _feature(0x0000, _profiles(profile), 3),
            _feature(0x0001, bytes((0, 0, 0, 1, 1, 0, 0, 0)), 0x0B),
            _feature(0x0003, bytes((0x29, 0, 0, 0)), 3),
            _feature(0x0010, bytes((0, 0, 8, 0, 0, 1, 0, 0)), bool(profile)),
            _feature(0x001E, bytes(4), profile == CD_PROFILE),
            _feature(0x001F, bytes(4), profile == DVD_PROFILE),
        ]
        chosen = [
            each
            for each in features
            if (number(each, 0, 2) == first if which == 2 else number(each, 0, 2) >= first)
            and (which != 1 or each[2] & 1)
        ]
        body = bytes((0, 0)) + profile.to_bytes(2, "big") + b"".join(chosen)
        return command.give(len(body).to_bytes(4, "big") + body, number(command.cdb, 7, 2))

    def events(self, command: Command) -> Work:
        """GET EVENT STATUS NOTIFICATION, polled only: what has happened to the medium."""
        self.check_field(bool(command.cdb[1] & 1))
        limit = number(command.cdb, 7, 2)
        if not command.cdb[4] & 1 << MEDIUM_CLASS:
            return command.give(bytes((0, 2, 0x80, 1 << MEDIUM_CLASS)), limit)
        event, self.event = self.event, NO_CHANGE
        state = 2 * (self.disk is not None) | self.open
        body = bytes((MEDIUM_CLASS, 1 << MEDIUM_CLASS, event, state, 0, 0))
        return command.give(bytes((0, len(body))) + body, limit)

    @property
    def _profile(self) -> int:
        if self.disk is None:
            return 0
        return CD_PROFILE if self.blocks <= CD_BLOCKS else DVD_PROFILE


def _feature(code: int, data: bytes, flags: int) -> bytes:
    return code.to_bytes(2, "big") + bytes((flags, len(data))) + data


def _profiles(current: int) -> bytes:
    return b"".join(
        each.to_bytes(2, "big") + bytes((each == current, 0)) for each in (DVD_PROFILE, CD_PROFILE)
    )


def _minutes(block: int) -> bytes:
    """An address as minutes, seconds and frames, of which the first 150 are before the data."""
    seconds, frame = divmod(block + 150, 75)
    return bytes((0, min(seconds // 60, 255), seconds % 60, frame))
