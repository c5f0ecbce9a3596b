"""A machine's screen for viewers by VNC: where they connect, and what they type."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from bimetal.backends.listening import listen_tcp, listen_unix
from bimetal.backends.vnc.channel import WebSocketLayer, tls_context
from bimetal.backends.vnc.hello import Access
from bimetal.backends.vnc.password import Password
from bimetal.backends.vnc.server import Door, VncServer
from bimetal.backends.vnc.visit import Stage, Visit, way_in
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.threads import EndingThread
from bimetal.machine.wanted import KEYBOARD, MOUSE, TABLET
from bimetal.screen.inputs import BUTTONS, RANGE, InputDevice
from bimetal.screen.screen import Screen

__all__ = ["Vnc", "open_vnc", "vnc_place"]

FIRST_PORT = 5900
"""The TCP port of display 0."""
FIRST_WEB_PORT = 5700
"""The same for WebSockets, as with QEMU."""
PORTS_LIMIT = 0xFFFF
BACKLOG = 16


class Vnc:
    """A VNC server that runs. ``address`` is where it listens: host and port, or the path of a Unix
    socket; ``web_address`` is where WebSockets connect, None if they cannot."""

    def __init__(
        self,
        server: VncServer,
        addresses: Sequence[tuple[str, int] | str],
        fail: Callable[[BaseException], None],
    ):
        self._server, self._fail = server, fail
        self.address = addresses[0]
        self.web_address = addresses[1] if len(addresses) > 1 else None
        self._thread = EndingThread(self._main, "vnc")
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Vnc at {self.address}: {len(self._server.clients)} clients>"

    @property
    def password(self) -> bool:
        """Whether viewers must know a password."""
        return self._server.access.password is not None

    @property
    def way_in(self) -> str:
        """What viewers have to do to be let in, in QEMU's words."""
        return way_in(self._server.access)

    @property
    def visits(self) -> list[Visit]:
        """The viewers who are there, also those who were not let in yet."""
        return [client.visit for client in [*self._server.clients]]

    def set_password(self, password: str) -> None:
        """Let those in from now on who know this ``password``, instead of another one. Raises
        `BimetalError` if it cannot be one."""
        self._server.set_password(Password(password))

    def admit(self, descriptor: int, *, trusted: bool = False) -> None:
        """Let in a viewer whose connected socket has that ``descriptor``, which is ours from now
        on; if ``trusted``, without a password. Raises `BimetalError` if it is no such socket."""
        try:
            self._server.admit(descriptor, trusted=trusted)
        except OSError as error:
            raise BimetalError(
                f"descriptor {descriptor} leads to no viewer: {error.strerror}",
                "hand over a socket that is connected",
                ExitCode.USAGE,
            ) from error

    def end(self, seconds: float) -> bool:
        """End the thread and close all connections; False if there was not enough time."""
        self._server.stop()
        if not self._thread.ended(seconds):
            return False
        self._server.close()
        return True

    def forked(self) -> None:
        """This process is a copy, in which nobody looks."""
        self._server.close(ours=False)

    def _main(self) -> None:
        try:
            self._server.run()
        except BaseException as failure:
            self._fail(failure)


class MachineInputs:
    """Hands what people do to the input devices that there are. See `Inputs`."""

    def __init__(
        self,
        devices: Mapping[str, InputDevice],
        lock: Callable[[], AbstractContextManager[object]],
    ):
        self._devices, self._lock = devices, lock

    def key(self, code: int, down: bool) -> None:
        """See `Inputs`."""
        with self._lock():
            if (keyboard := self._devices.get(KEYBOARD)) is not None:
                keyboard.press(code, down)

    def point(self, x: int, y: int, width: int, height: int) -> None:
        """See `Inputs`."""
        with self._lock():
            if (pointer := self._pointer) is not None:
                pointer.point(_scaled(x, width), _scaled(y, height))

    def button(self, name: str, down: bool) -> None:
        """See `Inputs`."""
        with self._lock():
            if (pointer := self._pointer) is not None:
                pointer.press(BUTTONS[name], down)

    def turn(self, steps: int) -> None:
        """See `Inputs`."""
        with self._lock():
            if (pointer := self._pointer) is not None:
                pointer.turn(steps)

    @property
    def _pointer(self) -> InputDevice | None:
        """What is pointed with: a tablet, or else a mouse. Devices come and go."""
        return self._devices.get(TABLET) or self._devices.get(MOUSE)


def open_vnc(
    place: str,
    *,
    password: str | None,
    certificate: str | None,
    key: str | None,
    web_socket: str | None,
    origins: Sequence[str],
    screen: Screen,
    inputs: Mapping[str, InputDevice],
    lock: Callable[[], AbstractContextManager[object]],
    name: str,
    fail: Callable[[BaseException], None],
    on_visit: Callable[[Stage, Visit], None],
) -> Vnc:
    """Serve ``screen`` at ``place`` and perhaps, by WebSockets, at ``web_socket``; viewers use
    ``inputs``, by kind. The other parameters are as in `Screens.vnc` and `VncServer`. Raises
    `BimetalError`."""
    if key is not None and certificate is None:
        raise BimetalError("a key without a certificate", "give both", ExitCode.USAGE)
    access = Access(
        None if password is None else Password(password),
        None if certificate is None else tls_context(certificate, key),
    )
    if web_socket is not None:
        WebSocketLayer()  # so that a missing library is told now
    doors: list[Door] = []
    try:
        doors.append(_door(vnc_place(place)))
        if web_socket is not None:
            there = vnc_place(web_socket, FIRST_WEB_PORT)
            doors.append(_door(there, web_socket=True, origins=origins))
        server = VncServer(screen, MachineInputs(inputs, lock), doors, access, lock, name, on_visit)
    except BaseException:
        for door in doors:
            door.close()
        raise
    return Vnc(server, [door.address for door in doors], fail)


def vnc_place(text: str, first: int = FIRST_PORT) -> tuple[str, int] | str:
    """Where ``text`` says that a server listens: ``[HOST]:DISPLAY`` or ``[HOST]::PORT``, on this
    host only if no host is named, or ``unix:PATH``. Host and port, or a path. Raises
    `BimetalError`."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text.removeprefix("unix:")
    host, colon, number = text.rpartition(":")
    is_port = host.endswith(":") and not host.endswith("::")
    limit = PORTS_LIMIT if is_port else PORTS_LIMIT - first
    if colon and number.isascii() and number.isdecimal() and len(number) <= 5:
        value = int(number)
        if value <= limit:
            bare = host[:-1] if is_port else host
            return bare.removeprefix("[").removesuffix("]"), value if is_port else first + value
    raise BimetalError(
        f"{text!r} is no place for viewers",
        "write [HOST]:DISPLAY, as in :1, or [HOST]::PORT, or unix:PATH",
        ExitCode.USAGE,
    )


def _door(
    place: tuple[str, int] | str, *, web_socket: bool = False, origins: Sequence[str] = ()
) -> Door:
    """A door there. Raises `BimetalError`."""
    if isinstance(place, str):
        return Door(listen_unix(place, BACKLOG), web_socket, origins, os.path.abspath(place))
    return Door(listen_tcp(*place, BACKLOG), web_socket, origins)


def _scaled(at: int, size: int) -> int:
    """Where a pixel lies in the range of a tablet."""
    return at * RANGE // max(1, size - 1)
