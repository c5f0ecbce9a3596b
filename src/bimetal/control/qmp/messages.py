"""The messages of QMP (QEMU's docs/interop/qmp-spec.rst): read from clients, made for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.contract import plain
from bimetal.control.events import Event
from bimetal.control.failures import CommandFailed, ErrorClass, class_of
from bimetal.control.version import PROTOCOL, package

__all__ = ["Request", "Unreadable", "failure", "greeting", "read_request", "success", "told"]

NO_ID = msgspec.UNSET
ENDING = b"\r\n"
MEMBERS = frozenset({"execute", "exec-oob", "arguments", "id"})


class Request(Struct, frozen=True):
    """A command that a client wants carried out, perhaps ``out_of_band``. ``id`` is a value of its
    own that comes back with the answer, `NO_ID` if there is none."""

    command: str
    arguments: Mapping[str, Any]
    id: Any = NO_ID
    out_of_band: bool = False
    descriptors: list[int] = field(default_factory=list)
    """What came with it by SCM_RIGHTS."""


class Unreadable(CommandFailed):
    """A message that is no request; ``id`` is the one it has."""

    def __init__(self, why: str, id: Any = NO_ID):
        super().__init__(ErrorClass.GENERIC, why, exit_code=ExitCode.USAGE)
        self.id = id


def read_request(message: bytes, descriptors: Sequence[int] = ()) -> Request:
    """The request in a message that came with ``descriptors``. Raises `Unreadable`."""
    try:
        content = msgspec.json.decode(message)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Unreadable(f"a message is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise Unreadable("a message is a JSON object")
    id_ = content.get("id", NO_ID)
    for member in content:
        if member not in MEMBERS:
            raise Unreadable(f"a message has no member {member[:80]!r}", id_)
    if ("execute" in content) == ("exec-oob" in content):
        raise Unreadable("a message has either 'execute' or 'exec-oob'", id_)
    out_of_band = "exec-oob" in content
    command = content["exec-oob" if out_of_band else "execute"]
    arguments = content.get("arguments", {})
    if not isinstance(command, str):
        raise Unreadable("the name of a command is a string", id_)
    if not isinstance(arguments, dict):
        raise Unreadable("the arguments of a command are an object", id_)
    return Request(command, arguments, id_, out_of_band, list(descriptors))


def greeting() -> bytes:
    """What each client is sent first."""
    version = {"qemu": plain(PROTOCOL), "package": package()}
    return _message({"QMP": {"version": version, "capabilities": ["oob"]}})


def success(result: Any, id: Any) -> bytes:
    """The answer to a request that was carried out."""
    value = {} if result is None else plain(result)
    return _message({"return": value, **_with(id)})


def failure(error: BimetalError, id: Any) -> bytes:
    """The answer to a request that was not."""
    content = {"class": str(class_of(error)), "desc": str(error)}
    return _message({"error": content, **_with(id)})


def told(event: Event, nanoseconds: int) -> bytes:
    """The message of an event that happened so long after 1970."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    message: dict[str, Any] = {
        "timestamp": {"seconds": seconds, "microseconds": rest // 1000},
        "event": event.name,
    }
    if event.data is not None:
        message["data"] = plain(event.data)
    return _message(message)


def _with(id: Any) -> dict[str, Any]:
    return {} if id is NO_ID else {"id": id}


def _message(content: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(content) + ENDING
