"""Commands about lines whose output is held in memory."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from typing import Annotated, Literal

from bimetal.backends.chars.held import HeldOutput
from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["ringbuf_read", "ringbuf_write"]

Device = Annotated[str, "the line, of the kind ringbuf"]
Form = Annotated[Literal["utf8", "base64"], "how the bytes are written as text"]


@MACHINE.command("ringbuf-write")
def ringbuf_write(
    vm: Managed, device: Device, data: Annotated[str, "what to write"], format: Form = "utf8"
) -> None:
    """Write into a line that is held in memory, as the guest does. If there is no room, what is
    oldest is lost."""
    line = _line(vm, device)
    try:
        written = data.encode() if format == "utf8" else b64decode(data, validate=True)
    except (NoBase64, ValueError) as error:
        raise _wrong(f"the data are no {format}", "correct them, or their format") from error
    with vm.machine.console.lock:
        line.write(written)


@MACHINE.command("ringbuf-read")
def ringbuf_read(
    vm: Managed, device: Device, size: Annotated[int, "bytes at most"], format: Form = "utf8"
) -> str:
    """Take what was written into a line that is held in memory. As UTF-8, what is none becomes
    U+FFFD, also half a character at the end."""
    line = _line(vm, device)
    if size <= 0:
        raise _wrong("the size must be greater than zero", "say how many bytes to take at most")
    with vm.machine.console.lock:
        taken = line.take(size)
    return taken.decode(errors="replace") if format == "utf8" else b64encode(taken).decode()


def _line(vm: Managed, device: str) -> HeldOutput:
    line = vm.held.get(device)
    if line is None:
        remedy = f"choose from {', '.join(vm.held)}" if vm.held else "say -chardev ringbuf,id="
        raise _wrong(f"there is no ring buffer {device[:80]!r}", remedy)
    return line


def _wrong(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
