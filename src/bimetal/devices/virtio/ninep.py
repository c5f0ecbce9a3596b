"""The 9P transport (virtio 1.2, section 5.15): a folder of the host, which the driver mounts by its
tag.

A request is one message of 9P, its answer another. What they say concerns the server only.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Protocol

from bimetal.base.buffers import scatter, split, total
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.state import BadState
from bimetal.devices.virtio.device import VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain, QueueError

__all__ = ["Share", "VirtioNinep"]

QUEUE_SIZE = 128
MOUNT_TAG = 1 << 0
TAG_LIMIT = 255

SHORTEST_ANSWER = 11
"""Bytes of an answer that tells of an error."""

_TAG = Struct("<H")


class Share(Protocol):
    """The server of a folder, as the device needs it. Nothing raises."""

    @property
    def readonly(self) -> bool:
        """Whether the guest can change nothing."""

    @property
    def limit(self) -> int:
        """Bytes of a message at most."""

    def answer(self, request: bytes, room: int) -> bytes:
        """The answer to a message, at most ``room`` bytes, which are 11 or more."""

    def reset(self) -> None:
        """The driver begins anew."""

    def close(self) -> None:
        """Give everything back. Idempotent."""

    def save(self) -> dict[str, Any]:
        """The state as plain values."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""


class VirtioNinep(VirtioDevice):
    """The folder that ``share`` serves, which is closed with the device, under the name ``tag``."""

    device_id = 9
    queue_limits = (QUEUE_SIZE,)
    offered = MOUNT_TAG
    fixed = ("_share", "tag")

    def __init__(self, share: Share, tag: str):
        super().__init__()
        name = tag.encode()
        if not 0 < len(name) <= TAG_LIMIT:
            raise ValueError(f"a tag has 1 to {TAG_LIMIT} bytes, not {len(name)}")
        self._share, self.tag = share, tag
        self.config[:] = _TAG.pack(len(name)) + name

    def work_on(self, index: int, chain: Chain) -> Work:
        room = total(chain.writable)
        if room < SHORTEST_ANSWER:
            raise QueueError("a 9P request has no room for an answer")
        parts, _ = split(chain.readable, self._share.limit)
        answer = self._share.answer(b"".join(parts), room)
        written = scatter(answer, chain.writable)
        yield total(parts) + written
        return written

    def reset(self) -> None:
        super().reset()
        self._share.reset()

    def close(self) -> None:
        super().close()
        self._share.close()

    def check_forkable(self) -> None:
        if not self._share.readonly:
            raise BimetalError(
                f"the guest writes to the share {self.tag}, and copies of it would do so too",
                "share it readonly",
                ExitCode.UNAVAILABLE,
            )

    def forked(self) -> None:
        self._share.load(self._share.save())  # what is open has positions of its own

    def save(self) -> dict[str, Any]:
        return {**super().save(), "share": self._share.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        try:
            self._share.load(state["share"])
        except (LookupError, TypeError, ValueError, OSError) as error:
            raise BadState(f"VirtioNinep has no such share: {error}") from error
        super().load(state)
