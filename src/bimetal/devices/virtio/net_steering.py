"""Which of several queues a frame is received on (virtio 1.2, 5.1.6.5.6: automatic steering)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from bimetal.base.frames import Frame
from bimetal.base.state import Stateful

__all__ = ["Steering", "beginning"]

FLOWS_LIMIT = 4096
"""Flows whose queue is known; with more all are forgotten, which costs their order nothing but
once."""

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"

PLAIN_IPV4 = 0x45
"""Version 4 and a header without options."""

FLOW_HEAD = 58
"""Bytes of a frame that say which flow it belongs to: Ethernet, IPv6 and the two ports."""


class Steering(Stateful):
    """A flow of frames is received on the pair of queues on which its other direction was sent
    last, and on the first one until then. ``pairs`` is the number of pairs in use."""

    saved = ("pairs",)
    derived = ("_pair_of",)

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all flows; one pair is in use."""
        self.pairs = 1
        self._pair_of: dict[bytes, int] = {}

    def sent(self, frame: Frame, pair: int) -> None:
        """A frame of the guest came on ``pair``."""
        source, target = _ends(beginning(frame, FLOW_HEAD))
        if source:
            if len(self._pair_of) >= FLOWS_LIMIT:
                self._pair_of.clear()
            self._pair_of[target + source] = pair

    def sort(self, frames: Sequence[Frame]) -> Iterator[tuple[int, Sequence[Frame]]]:
        """Runs of frames for the same pair, with the number of the pair."""
        if self.pairs == 1:
            yield 0, frames
        else:
            for pair, run in groupby(frames, self._pair_for):
                yield pair, list(run)

    def _pair_for(self, frame: Frame) -> int:
        source, target = _ends(beginning(frame, FLOW_HEAD))
        pair = self._pair_of.get(source + target, 0)
        return pair if pair < self.pairs else 0


def beginning(frame: Frame, length: int) -> bytes:
    """A copy of the first ``length`` bytes of a frame, or of all there are."""
    head = bytes(frame.pieces[0][:length])
    if len(head) < length and len(frame.pieces) > 1:
        head = b"".join(frame.pieces)[:length]
    return head


def _ends(head: bytes) -> tuple[bytes, bytes]:
    """Address and port of where a frame comes from and of where it goes to; nothing if it is not
    IP or has options before its ports."""
    kind = head[12:14]
    if kind == IPV4 and len(head) >= 38 and head[14] == PLAIN_IPV4:
        return head[26:30] + head[34:36], head[30:34] + head[36:38]
    if kind == IPV6 and len(head) >= FLOW_HEAD:
        return head[22:38] + head[54:56], head[38:54] + head[56:58]
    return b"", b""
