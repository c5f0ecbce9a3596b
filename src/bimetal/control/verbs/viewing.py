"""Verbs for the screen and the keyboard of a machine that runs."""

from __future__ import annotations

import os
from typing import Annotated, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST, REST, Domain, File

__all__ = ["domdisplay", "screenshot", "send_key"]


@HOST.command("screenshot")
def screenshot(
    machines: Machines,
    domain: Domain,
    file: File,
    screen: Annotated[str, "accepted if it is 0: there is one screen"] = "0",
) -> str:
    """Write what is on the screen of a machine to a file, as PNG; the path."""
    if screen != "0":
        raise BimetalError(f"there is no screen {screen[:40]!r}", "leave it away", ExitCode.USAGE)
    known = machines.running(domain)
    target = os.path.abspath(file)
    draft = str(machines.places.state(known.name) / "screenshot.png")
    machines.ask(known.name, "screendump", filename=draft)  # its process reaches no other folder
    late("bimetal.control.handing:hand_out")(draft, target)
    return file


@HOST.command("send-key")
def send_key(
    machines: Machines,
    domain: Domain,
    keycode: Annotated[str, "keys that are pressed together: KEY_LEFTCTRL KEY_C, or ctrl-c", REST],
    codeset: Annotated[str, "accepted: linux, whose names these are"] = "linux",
    holdtime: Annotated[str, "accepted: the guest is told at once"] = "0",
) -> None:
    """Press keys of a machine together, and let them go."""
    names = [word.lower().removeprefix("key_") for word in keycode.replace("-", " ").split()]
    keys: list[dict[str, Any]] = [{"type": "qcode", "data": name} for name in names]
    machines.ask(domain, "send-key", keys=keys)


@HOST.command("domdisplay", safe=True)
def domdisplay(machines: Machines, domain: Domain) -> str:
    """Tell where viewers connect to the screen of a machine, as a URI."""
    known = machines.running(domain)
    place = str(machines.state_of(known.name).get("vnc", ""))
    if not place:
        raise BimetalError(
            "No graphical display found",
            "define it with <graphics type='vnc' port='-1'/>",
            ExitCode.UNAVAILABLE,
        )
    return f"vnc://{place}"
