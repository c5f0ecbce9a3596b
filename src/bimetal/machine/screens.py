"""What a machine shows on its screen: a part of `Machine`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike, fsdecode
from pathlib import PurePath
from typing import TYPE_CHECKING

from bimetal.backends.png import png
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.near import choose_from
from bimetal.machine.assembly import Assembly
from bimetal.machine.closing import Closing
from bimetal.machine.config import Config
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.gate import VcpuGate
from bimetal.machine.wanted import KEYBOARD, MOUSE, TABLET
from bimetal.screen.inputs import BUTTONS, InputDevice
from bimetal.screen.keys import from_scan_code, keys_named
from bimetal.screen.screen import Screen
from bimetal.screen.surface import Picture
from bimetal.snapshot.replacing import replacing

if TYPE_CHECKING:
    from bimetal.backends.vnc.visit import Stage, Visit
    from bimetal.machine.vnc import Vnc

__all__ = ["Screens"]

Path = str | PathLike[str]

WHEEL = {"wheel-up": 1, "wheel-down": -1}
"""Buttons that are turns of the wheel, as QEMU calls them."""


class Screens:
    """Methods for the screen of a machine that has one, see `Equipment.video`."""

    config: Config
    _parts: Assembly
    _gate: VcpuGate
    _closing: Closing
    _pointed = (0, 0)
    """Where somebody has pointed."""

    def vnc(
        self,
        place: str = ":0",
        *,
        password: str | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
        web_socket: str | None = None,
        origins: Sequence[str] = (),
    ) -> Vnc:
        """Let viewers see the screen, type and point, by VNC (RFB 3.8) at ``place``: ``:1`` is
        display 1 of this host only, TCP port 5901; ``HOST:DISPLAY``, ``HOST::PORT`` and
        ``unix:PATH`` are others. The `Vnc` returned knows its address.

        With a ``password`` of up to 8 bytes viewers must know it, which hides nothing; with a
        certificate and its key, files in PEM, they speak through TLS (VeNCrypt). ``web_socket`` is
        such a place too, at which pages connect, with displays from port 5700 on; those that come
        from elsewhere than this host must be among ``origins``, as in ``https://example.org``.

        May be called before or after `start`; it ends with the machine. Raises `BimetalError`
        without a screen (`Equipment.video`), for a place that cannot be listened at, and if a
        library for what is asked for is missing.
        """
        screen = self._screen()
        hardware = self._parts.built().hardware
        made: Vnc = late("bimetal.machine.vnc:open_vnc")(
            place,
            password=password,
            certificate=None if tls_certificate is None else fsdecode(tls_certificate),
            key=None if tls_key is None else fsdecode(tls_key),
            web_socket=web_socket,
            origins=origins,
            screen=screen,
            inputs=hardware.inputs,
            lock=lambda: self._gate.lock,
            name=self._title(),
            fail=self._gate.fail,
            on_visit=self._visited,
        )
        self._closing.viewers.append(made)
        return made

    def _visited(self, stage: Stage, visit: Visit) -> None:
        """A viewer has come, was let in, or has gone. Called with the machine's lock held."""
        self._gate.on_event(MachineEvent(EventKind.VISIT, stage=stage, visit=visit))

    def _title(self) -> str:
        """What viewers call the machine."""
        what = self.config.kernel or self.config.bios or next(iter(self.config.flash), "")
        return f"Bimetal: {PurePath(what).name}" if what else "Bimetal"

    def screendump(self, path: Path) -> None:
        """Write what is on the screen to the file ``path``, as PNG. Raises `BimetalError` if there
        is no screen, if nothing is shown on it yet, or if the file cannot be written, and then an
        older file there is as it was."""
        data = png(self._picture())
        try:
            with replacing(fsdecode(path)) as fd, os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)
        except OSError as error:
            raise BimetalError(
                f"the picture cannot be written to {fsdecode(path)}: {error.strerror or error}",
                "choose another path, or make room there",
                ExitCode.IO_ERROR,
            ) from error

    def send_keys(self, *keys: str) -> None:
        """Press and release each combination of ``keys``, such as ``ctrl-alt-delete`` or ``a``.
        Names are those of `bimetal.screen.keys.KEYS`, of QEMU and of Linux. Raises `BimetalError`
        for a key that does not exist, without a keyboard (`Equipment.input`), and if the guest has
        no driver for it or does not take what is typed."""
        self._press([keys_named(each) for each in keys])

    def press_together(self, keys: Sequence[int | str]) -> None:
        """Press and release ``keys`` together: names, as for `send_keys`, or scan codes of set 1,
        to which 128 is added where a keyboard sends the prefix E0. Otherwise as `send_keys`."""
        codes: list[int] = []
        for key in keys:
            found = keys_named(key) if isinstance(key, str) else [from_scan_code(key)]
            for code in found:
                if code is None:
                    raise BimetalError(
                        f"no key has the scan code {key}", "see set 1 of a PC", ExitCode.USAGE
                    )
                codes.append(code)
        self._press([codes])

    def press(self, key: int | str, down: bool) -> None:
        """Press a key, or let go of it: a name or a scan code, as for `press_together`. Raises
        `BimetalError` for one that does not exist, and without a keyboard."""
        codes = keys_named(key) if isinstance(key, str) else [from_scan_code(key)]
        keyboard = self._keyboard()
        with self._parts.built().locked():
            for code in codes:
                if code is None:
                    raise BimetalError(
                        f"no key has the scan code {key}", "see set 1 of a PC", ExitCode.USAGE
                    )
                keyboard.press(code, down)

    def point(self, x: int | None = None, y: int | None = None) -> None:
        """Point there, from 0 to `RANGE`; where nothing is said, where it was. Raises
        `BimetalError` without a tablet or a mouse."""
        pointer, (old_x, old_y) = self._pointer(), self._pointed
        self._pointed = old_x if x is None else x, old_y if y is None else y
        with self._parts.built().locked():
            pointer.point(*self._pointed)

    def move(self, right: int = 0, down: int = 0) -> None:
        """Move the mouse so many steps. Raises `BimetalError` without one."""
        mouse = self._parts.built().hardware.inputs.get(MOUSE)
        if mouse is None:
            raise BimetalError(
                "this machine has no mouse",
                "plug one in: vm.plug_input('mouse'), or say where to point",
                ExitCode.USAGE,
            )
        with self._parts.built().locked():
            mouse.move(right, down)

    def click(self, button: str, down: bool) -> None:
        """Press a button of `BUTTONS`, or let go of it; ``wheel-up`` and ``wheel-down`` turn the
        wheel when they are pressed. Otherwise as `point`."""
        pointer = self._pointer()
        if button not in BUTTONS and button not in WHEEL:
            raise BimetalError(
                f"there is no button {button[:40]!r}",
                choose_from(button[:40], [*BUTTONS, *WHEEL]),
                ExitCode.USAGE,
            )
        with self._parts.built().locked():
            if button in BUTTONS:
                pointer.press(BUTTONS[button], down)
            elif down:
                pointer.turn(WHEEL[button])

    def _pointer(self) -> InputDevice:
        inputs = self._parts.built().hardware.inputs
        pointer = inputs.get(TABLET) or inputs.get(MOUSE)
        if pointer is None:
            raise BimetalError(
                "this machine has nothing to point with",
                "give it a tablet before it starts: vm.input('tablet')",
                ExitCode.USAGE,
            )
        return pointer

    def _press(self, combinations: Sequence[Sequence[int]]) -> None:
        keyboard = self._keyboard()
        for codes in combinations:
            with self._parts.built().locked():
                if not keyboard.listens:
                    raise BimetalError(
                        "the guest does not listen to its keyboard",
                        "wait until it has started; Linux needs the module virtio_input, or usbhid",
                        ExitCode.UNAVAILABLE,
                    )
                for code in codes:
                    keyboard.press(code, True)
                for code in reversed(codes):
                    keyboard.press(code, False)

    def _keyboard(self) -> InputDevice:
        keyboard = self._parts.built().hardware.inputs.get(KEYBOARD)
        if keyboard is None:
            raise BimetalError(
                "this machine has no keyboard",
                "give it one before it starts: --input keyboard, or vm.input('keyboard')",
                ExitCode.USAGE,
            )
        return keyboard

    def _picture(self) -> Picture:
        """What is on the screen now."""
        runner = self._parts.built()
        screen = self._screen()
        with runner.locked():
            surface = screen.surface
            if surface is not None:
                return surface.copy()
        raise BimetalError(
            "the guest shows nothing on its screen yet",
            "wait until it has started, and see whether it has a driver for its display device",
            ExitCode.UNAVAILABLE,
        )

    def _screen(self) -> Screen:
        screen = self._parts.built().hardware.screen
        if screen is None:
            raise BimetalError(
                "this machine has no screen",
                "give it one before it starts: --video, or vm.video()",
                ExitCode.USAGE,
            )
        return screen
