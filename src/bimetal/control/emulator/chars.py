"""Options for lines: character devices, and the serial ports and monitors at their ends."""

from __future__ import annotations

from bimetal.backends.chars.held import HeldOutput
from bimetal.control.emulator.grammar import Words, read_words, wrong
from bimetal.control.emulator.order import MonitorAt, Order

__all__ = [
    "chardev_place",
    "read_chardev",
    "read_mon",
    "read_monitor",
    "read_qmp",
    "read_serial",
    "serial_place",
]

BY_NAME = "chardev:"
NOWHERE = ("none", "null")
RING, RING_SIZE, RING_MOST = "ringbuf", 64 << 10, 64 << 20


def read_chardev(order: Order, option: str, value: str) -> None:
    """A line, which something else refers to by its id."""
    words = read_words(option, value, "backend")
    name = words.needed("id")
    if name in order.chardevs or name in order.held:
        raise wrong(option, f"there are two lines {name[:80]!r}", "give each its own id")
    if words.peek("backend") == RING:
        order.held[name] = _held(words)
    else:
        order.chardevs[name] = words


def _held(words: Words) -> HeldOutput:
    """A line whose output is held in memory."""
    words.ignore("backend", "id")
    words.only("mux", "off")
    size = words.size("size")
    words.finish()
    size = RING_SIZE if size is None else size
    if size <= 0 or size > RING_MOST or size & size - 1:
        raise wrong(words.option, f"size={size}", f"write a power of two up to {RING_MOST}")
    return HeldOutput(size)


def read_qmp(order: Order, option: str, value: str) -> None:
    """A monitor for programs."""
    if value.startswith(BY_NAME):
        order.monitors.append(MonitorAt(chardev=value.removeprefix(BY_NAME)))
    elif value not in NOWHERE:
        order.monitors.append(MonitorAt(_with_server(option, value)))


def read_mon(order: Order, option: str, value: str) -> None:
    """A monitor at the end of a line."""
    words = read_words(option, value, "chardev")
    name = words.needed("chardev")
    words.ignore("id")
    words.only("pretty", "off")
    mode = words.text("mode", "readline")
    words.finish()
    if mode not in ("control", "readline"):
        raise wrong(option, f"mode={mode[:80]} is not there", "write control or readline")
    order.monitors.append(MonitorAt(chardev=name, people=mode == "readline"))


def read_monitor(order: Order, option: str, value: str) -> None:
    """A monitor for people."""
    if value.startswith(BY_NAME):
        order.monitors.append(MonitorAt(chardev=value.removeprefix(BY_NAME), people=True))
    elif value not in NOWHERE:
        order.monitors.append(MonitorAt(_with_server(option, value), people=True))


def read_serial(order: Order, option: str, value: str) -> None:
    """Where the next serial port leads."""
    order.serials.append(value)


def serial_place(order: Order, text: str) -> str | HeldOutput:
    """Where a serial port leads, as `Machine` has it. Raises `BimetalError`."""
    option = "serial"
    if text.startswith(BY_NAME):
        held = order.held.get(text.removeprefix(BY_NAME))
        if held is not None:
            return held
        return chardev_place(order, option, text.removeprefix(BY_NAME))
    kind, colon, where = text.partition(":")
    match kind:
        case "none" | "null" | "stdio" | "pty" if not colon:
            return "none" if kind == "null" else kind
        case "mon" if where == "stdio":
            return "stdio"
        case "file" if where:
            return text
        case "unix" | "tcp" | "telnet" if where:
            return _listening(option, text)
    raise wrong(option, f"{text[:80]!r} is not there", "write none, stdio, pty, file:, unix:, tcp:")


def chardev_place(order: Order, option: str, name: str) -> str:
    """Where the line called ``name`` leads. Raises `BimetalError`."""
    words = order.chardevs.pop(name, None)
    if name in order.held:
        raise wrong(
            option, f"the ring buffer {name[:80]!r}", "have it at the serial port, or at nothing"
        )
    if words is None:
        raise wrong(
            option, f"there is no line {name[:80]!r}, or it is taken", "say -chardev ...,id="
        )
    words.ignore("id")
    place = _place(words)
    words.finish()
    return place


def _place(words: Words) -> str:
    words.only("mux", "off")
    match words.needed("backend"):
        case "pty":
            return "pty"
        case "null":
            return "none"
        case "stdio":
            words.ignore("signal")
            return "stdio"
        case "file":
            return f"file:{words.needed('path')}"
        case "socket":
            return _socket(words)
        case other:
            raise wrong(
                words.option,
                f"{other[:80]!r} is not there",
                "write pty, null, stdio, file, socket, ringbuf",
            )


def _socket(words: Words) -> str:
    """A socket at which others dial in."""
    if not words.switch("server"):
        raise wrong(words.option, "a line that dials others", "write server=on")
    if words.switch("wait", default=True):
        raise wrong(words.option, "a line that is waited for", "write wait=off")
    words.only("telnet", "off")
    words.only("reconnect", "0")
    if "fd" in words:
        return f"fd:{words.number('fd')}"
    if "path" in words:
        return f"unix:{words.needed('path')}"
    host, port = words.needed("host"), words.needed("port")
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"


def _listening(option: str, text: str) -> str:
    """A socket in the older way of writing it."""
    words = read_words(option, text, "place")
    place = words.needed("place")
    if place.startswith("telnet:"):
        raise wrong(option, "telnet", "write tcp:HOST:PORT,server=on,wait=off, and use nc")
    if not words.switch("server"):
        raise wrong(option, "a line that dials others", "add server=on")
    if words.switch("wait", default=True):
        raise wrong(option, "a line that is waited for", "add wait=off")
    words.finish()
    return place


def _with_server(option: str, text: str) -> str:
    """The place of a monitor, in the words that doors know."""
    words = read_words(option, text, "place")
    place, server = words.needed("place"), words.switch("server")
    wait = words.switch("wait", default=True)
    words.finish()
    if not server and place != "stdio":
        raise wrong(option, "a monitor that dials others", "add server=on")
    comma = place.replace(",", ",,")
    return comma if place == "stdio" else f"{comma},server=on,wait={'on' if wait else 'off'}"
