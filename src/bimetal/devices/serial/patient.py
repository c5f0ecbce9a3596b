"""A serial port whose far end is patient, as somebody with a terminal is, and as a pipe is not by
itself: it sends when the guest listens, that is, has enabled the interrupt for received data, or
has looked for some in vain for a while. What the guest clears unread, as drivers do when they
begin, and what a reset clears, is sent again.
"""

from __future__ import annotations

from bimetal.devices.chars import Chars
from bimetal.devices.device import Device

__all__ = ["PatientPort"]

LOOKS = 64
"""How often in a row a guest that polls has looked for input in vain when it is taken to listen."""
SPARE_LOOKS = 1024
"""The same number with output in between, and besides one look for each byte of it. Each of these
looks was for room to send, of which there always is some; consoles have spare ones, such as Linux
has one for each line."""


class PatientPort(Device):
    """The receiver of a serial port whose line ends in ``chars``."""

    chars: Chars
    kept = ("received", "unread", "looks", "spare_looks")
    """What of it devices have to save."""

    def __init__(self, chars: Chars) -> None:
        self.chars = chars
        self.received, self.unread = bytearray(), bytearray()
        self.looks = self.spare_looks = 0
        super().__init__()
        chars.connect(self.receive, self.room)

    def reset(self) -> None:
        """See `Device.reset`."""
        looped = self._looped()
        super().reset()
        if looped:
            self.received.clear()
        self._clear()

    def room(self) -> int:
        """How many bytes the far end may send just now."""
        return 0 if self.unread else self._room()

    def receive(self, data: bytes) -> None:
        """Take input from the far end; what does not fit is lost, as an overrun."""
        raise NotImplementedError

    def withdraw(self) -> bytes:
        """Take back what the guest has not read, so that another reader can have it."""
        data = bytes(self.received + self.unread)
        self.received.clear()
        self.unread.clear()
        self._emptied()
        return data

    # What a kind of port says of itself

    def _listens(self) -> bool:
        """Whether the interrupt for received data is enabled."""
        raise NotImplementedError

    def _deaf(self) -> bool:
        """Whether nothing may be sent at all."""
        raise NotImplementedError

    def _looped(self) -> bool:
        """Whether input is the port's own output."""
        raise NotImplementedError

    def _capacity(self) -> int:
        """Bytes that the receiver holds."""
        raise NotImplementedError

    def _emptied(self) -> None:
        """Renew what depends on the receiver's content: there is none."""
        raise NotImplementedError

    # For kinds of ports

    def _let_in(self) -> None:
        """The guest may listen, or have room again."""
        if self.unread and (room := self._room()):
            again = bytes(self.unread[:room])
            del self.unread[:room]
            self.receive(again)
        if not self.unread and not self._looped():
            self.chars.resume()

    def _clear(self) -> None:
        """Empty the receiver, but for what comes again."""
        if not self._looped():
            self.unread[:0] = self.received
        self.received.clear()
        self.looks = self.spare_looks = 0
        self._emptied()

    def _looked(self) -> None:
        """The guest has looked for input in vain."""
        if not self._polls():
            self.looks += 1
            self.spare_looks += 1
            if self._polls():
                self._let_in()

    def _sent(self) -> None:
        """The guest has sent a byte, for which it has perhaps looked whether there was room."""
        if self.spare_looks and not self._polls():
            self.looks = 0
            self.spare_looks -= 1

    def _polls(self) -> bool:
        return self.looks >= LOOKS or self.spare_looks >= SPARE_LOOKS

    def _room(self) -> int:
        hears = not (self._looped() or self._deaf()) and (self._listens() or self._polls())
        return self._capacity() - len(self.received) if hears else 0
