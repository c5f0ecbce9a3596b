"""Commands about the screen, about viewers, and about what is typed and pointed at."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, UnsetType

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.control.visits import ClientInfo, address_of, client_info

if TYPE_CHECKING:
    from bimetal.machine.vnc import Vnc

__all__ = ["add_client", "input_send_event", "query_vnc", "screendump", "send_key"]

NOW = "now"
KEYS_LIMIT = 16
EVENTS_LIMIT = 64
RANGE = 0x7FFF
"""Where somebody points is told from 0 to this."""


class VncInfo(Answer):
    """Where viewers find the screen."""

    enabled: Annotated[bool, "whether they can look"]
    host: Annotated[str | UnsetType, "the address at which they connect"] = UNSET
    service: Annotated[str | UnsetType, "the port, or the path of a socket"] = UNSET
    family: Annotated[str | UnsetType, "ipv4, ipv6 or unix"] = UNSET
    auth: Annotated[str | UnsetType, "none, vnc, or vencrypt+x509+ and one of these"] = UNSET
    clients: Annotated[list[ClientInfo] | UnsetType, "those who look"] = UNSET


class KeyValue(Answer, forbid_unknown_fields=True):
    """A key."""

    type: Annotated[Literal["number", "qcode"], "whether data is a scan code or a name"]
    data: Annotated[int | str, "the scan code of set 1, with 128 for the prefix E0, or the name"]


@MACHINE.command("query-vnc")
def query_vnc(vm: Managed) -> VncInfo:
    """Say where viewers find the screen."""
    if vm.viewers is None:
        return VncInfo(enabled=False)
    clients = [client_info(each) for each in vm.viewers.visits]
    where = address_of(vm.viewers.address)
    return VncInfo(enabled=True, **where, auth=vm.viewers.way_in, clients=clients)


@MACHINE.command("set_password")
def set_password(
    vm: Managed,
    protocol: Annotated[Literal["vnc"], "how viewers see the screen"],
    password: Annotated[str, "what they must know: 1 to 8 bytes"],
    connected: Annotated[Literal["keep"], "those who are there stay"] = "keep",
) -> None:
    """Set the password of viewers. They must have been told that they need one (``-vnc
    ...,password=on``)."""
    _protected(vm).set_password(password)


@MACHINE.command("expire_password")
def expire_password(
    vm: Managed,
    protocol: Annotated[Literal["vnc"], "how viewers see the screen"],
    time: Annotated[Literal["never", "now"], "from when on it lets nobody in"],
) -> None:
    """Say how long the password of viewers is good."""
    viewers = _protected(vm)
    if time == NOW:
        viewers.set_password(secrets.token_hex(4))


@MACHINE.command("screendump")
def screendump(
    vm: Managed,
    filename: Annotated[str, "where to write the picture"],
    device: Annotated[str, "the device whose screen it is: there is one"] = "",
    head: Annotated[Literal[0], "which of its monitors"] = 0,
    format: Annotated[Literal["png"], "how it is written"] = "png",
) -> None:
    """Write what is on the screen to a file, as PNG."""
    if device and device not in vm.devices:
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_FOUND, f"Device '{device[:80]}' not found", "leave it away"
        )
    vm.machine.screendump(filename)


class InputEvent(Answer, forbid_unknown_fields=True):
    """Something that a person does."""

    type: Annotated[
        Literal["key", "btn", "abs", "rel"], "with a key, a button, by pointing, or with a mouse"
    ]
    data: Annotated[dict[str, Any], "down with key or button; or axis and value"]


@MACHINE.command("input-send-event")
def input_send_event(
    vm: Managed,
    events: Annotated[list[InputEvent], "what is done, in this order"],
    device: Annotated[str, "the screen at which it is done: there is one"] = "",
    head: Annotated[int, "which of its monitors"] = 0,
) -> None:
    """Press keys and buttons, let go of them, point somewhere (``x`` and ``y`` from 0 to 32767),
    and move a mouse by so many steps (``rel``), at once in both directions."""
    if len(events) > EVENTS_LIMIT:
        raise CommandFailed(ErrorClass.GENERIC, f"{len(events)} events", "send at most 64")
    for kind, group in groupby(events, key=lambda event: event.type):
        if kind == "rel":
            _move(vm, list(group))
        else:
            for event in group:
                _act(vm, event)


def _move(vm: Managed, events: list[InputEvent]) -> None:
    way = {"x": 0, "y": 0}
    for event in events:
        match event.data:
            case {"axis": "x" | "y" as axis, "value": int(value), **more} if (
                not more and abs(value) <= RANGE
            ):
                way[axis] += value
            case _:
                raise _no_such(event)
    vm.machine.move(way["x"], way["y"])


def _no_such(event: InputEvent) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, f"{event.data!r:.80} is no {event.type}", "correct it")


def _act(vm: Managed, event: InputEvent) -> None:
    match event.type, event.data:
        case "key", {"down": bool(down), "key": {"type": "qcode", "data": str(key)}, **more}:
            act: Callable[[], None] = partial(vm.machine.press, key, down)
        case "key", {"down": bool(down), "key": {"type": "number", "data": int(code)}, **more}:
            act = partial(vm.machine.press, code, down)
        case "btn", {"down": bool(down), "button": str(button), **more}:
            act = partial(vm.machine.click, button, down)
        case "abs", {"axis": "x" | "y" as axis, "value": int(value), **more} if 0 <= value <= RANGE:
            act = partial(vm.machine.point, **{axis: value})
        case _:
            raise _no_such(event)
    if more:
        word = next(iter(more))
        raise CommandFailed(ErrorClass.GENERIC, f"{word!r:.40} means nothing", "leave it away")
    act()


@MACHINE.command("send-key")
def send_key(
    vm: Managed,
    keys: Annotated[list[KeyValue], "the keys, which are pressed in this order"],
    hold_time: Annotated[int, "accepted: they are released at once"] = 0,
) -> None:
    """Press keys together, and release them."""
    if not 0 < len(keys) <= KEYS_LIMIT:
        raise CommandFailed(ErrorClass.GENERIC, f"{len(keys)} keys at once", "press 1 to 16")
    pressed: list[int | str] = []
    for key in keys:
        if (key.type == "number") is not isinstance(key.data, int):
            raise CommandFailed(
                ErrorClass.GENERIC, f"{key.data!r:.80} is no {key.type}", "correct its type"
            )
        pressed.append(key.data)
    vm.machine.press_together(pressed)


@MACHINE.command("add_client")
def add_client(
    vm: Managed,
    protocol: Annotated[Literal["vnc"], "how the viewer sees the screen"],
    fdname: Annotated[str, "its socket, as getfd has named it"],
    skipauth: Annotated[bool, "whether it needs no password"] = False,
    tls: Annotated[Literal[False], "it speaks as it is, or asks for TLS itself"] = False,
) -> None:
    """Let in a viewer whose connection a client hands over."""
    descriptor = vm.handed.take(fdname)
    if vm.viewers is None:
        os.close(descriptor)
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_ACTIVE, "there are no viewers", "start it with -vnc"
        )
    vm.viewers.admit(descriptor, trusted=skipauth)


def _protected(vm: Managed) -> Vnc:
    viewers = vm.viewers
    if viewers is None or not viewers.password:
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_ACTIVE,
            "viewers need no password" if viewers is not None else "there are no viewers",
            "start it with -vnc ...,password=on",
            ExitCode.UNAVAILABLE,
        )
    return viewers
