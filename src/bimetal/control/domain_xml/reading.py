"""A definition from libvirt's domain XML.

Each element is read, has no effect that could be seen, is noted (it has no effect here, which is
said), or is an error: there is none that is passed over because nobody has thought of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.definition import PAGE, Definition
from bimetal.control.domain_xml.devices import read_devices
from bimetal.control.domain_xml.own import NAMESPACE, read_own
from bimetal.control.domain_xml.parsing import (
    Element,
    Notes,
    choice,
    number,
    parse,
    refused,
    text_of,
    unknown,
)
from bimetal.control.known_boards import boards

__all__ = ["UNITS", "read_definition"]

UNITS = {
    "b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20,
    "MiB": 1 << 20, "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40,
    "TiB": 1 << 40,
}  # fmt: skip
"""Units of memory (formatdomain, "Memory Allocation")."""

WITHOUT_EFFECT = frozenset(
    {
        "currentMemory", "description", "features", "genid", "iothreads", "iothreadids",
        "maxMemory", "memoryBacking", "on_crash", "on_poweroff", "perf", "pm", "resource",
        "seclabel", "sysinfo", "vcpus",
    }
)  # fmt: skip
"""What nothing follows from here, or what is so in any case."""

NOTED = frozenset({"blkiotune", "cputune", "memtune", "numatune", "idmap", "keywrap"})
OS_WITHOUT_EFFECT = frozenset({"boot", "bootmenu", "bios", "smbios", "firmware", "acpi"})

READ = (
    "name", "uuid", "title", "metadata", "memory", "vcpu", "cpu", "os", "clock", "on_reboot",
    "devices",
)  # fmt: skip


def read_definition(text: bytes | str) -> Definition:
    """The definition in a document; one without a uuid gets one. Raises `BimetalError`."""
    root = parse(text, "domain")
    notes, values = Notes(), dict[str, Any](serial="none")
    values["accel"] = "kvm" if choice(root, "type", ("qemu", "kvm"), "qemu") == "kvm" else "jit"
    for element in root:
        _read(element, values, notes)
    for needed, path in (("name", "name"), ("memory", "memory"), ("board", "os/type")):
        if needed not in values:
            raise BimetalError(
                f"the definition does not say its {needed}", f"add <{path}>", ExitCode.DATA
            )
    values.setdefault("uuid", uuid4())
    own = values.pop("own", {})
    return replace(Definition(**values, notes=tuple(notes)), **own)


def _read(element: Element, values: dict[str, Any], notes: Notes) -> None:
    """Read a part of the domain."""
    match element.tag:
        case "name" | "title":
            values[element.tag] = text_of(element)
        case "uuid":
            values["uuid"] = _uuid(element)
        case "metadata":
            values["own"] = read_own(element.find(f"{{{NAMESPACE}}}machine"))
        case "memory":
            unit = choice(element, "unit", UNITS, "KiB")
            size = number(element, text_of(element)) * UNITS[unit]
            values["memory"] = -(-size // PAGE) * PAGE
        case "vcpu":
            values["cpus"] = number(element, element.get("current") or text_of(element))
        case "cpu":
            values["cpu_model"] = _cpu(element, notes)
        case "os":
            values.update(_os(element))
        case "on_reboot":
            values["reboot"] = text_of(element) == "restart"
        case "devices":
            values.update(read_devices(element, notes))
        case "clock":
            if element.get("offset", "utc") != "utc":
                notes.add(element, "the clock shows UTC")
        case tag if tag in NOTED:
            notes.add(element)
        case tag if tag not in WITHOUT_EFFECT:
            raise unknown(element, [*READ, *NOTED, *WITHOUT_EFFECT])


def _uuid(element: Element) -> UUID:
    try:
        return UUID(text_of(element))
    except ValueError as error:
        raise refused(element, f"{text_of(element)[:60]!r} is no UUID") from error


def _cpu(element: Element, notes: Notes) -> str:
    """The processor model; "" for the usual one."""
    model = element.find("model")
    for child in element:
        if child.tag in ("feature", "numa", "cache", "maxphysaddr"):
            notes.add(child)
        elif child.tag not in ("model", "topology", "vendor"):
            raise unknown(child, ("model", "topology", "feature", "numa", "cache"))
    if model is None or element.get("mode", "custom") != "custom":
        return ""
    notes.add(model, "processors are of the model that the accelerator has")
    return ""


def _os(element: Element) -> dict[str, Any]:
    """What is started."""
    values = dict[str, Any]()
    flash = list[str]()
    for child in element:
        match child.tag:
            case "type":
                if text_of(child) != "hvm":
                    raise refused(child, f"{text_of(child)[:60]!r} is no machine", "write hvm")
                values["board"] = _board(child)
            case "kernel" | "initrd" | "dtb":
                values[child.tag] = text_of(child)
            case "cmdline":
                values["append"] = text_of(child)
            case "loader" if choice(child, "type", ("rom", "pflash"), "rom") == "rom":
                values["bios"] = text_of(child)
            case "loader":
                flash.insert(0, text_of(child))
            case "nvram":
                flash.append(text_of(child))
                values["flash_template"] = str(child.get("template") or "")
            case tag if tag not in OS_WITHOUT_EFFECT:
                raise unknown(child, ("type", "kernel", "initrd", "cmdline", "loader", "nvram"))
    if element.get("firmware") and not flash and "bios" not in values:
        raise refused(
            element,
            "which firmware it is to be is not chosen here",
            "name its files: <loader type='pflash'> and <nvram>",
        )
    values["flash"] = tuple(flash)
    return values


def _board(element: Element) -> str:
    """The board for an architecture and a kind of machine, as QEMU and libvirt call them: the board
    of that name, or the one whose name ends with it."""
    wanted = str(element.get("machine", ""))
    arch = str(element.get("arch", ""))
    short = wanted.rpartition("-")[0] if wanted[-1:].isdecimal() and "-" in wanted else wanted
    fitting = [board for board in boards() if arch in ("", board.isa)]
    for board in fitting:
        if board.name in (wanted, short) or (arch and board.name.endswith(f"-{short}")):
            return board.name
    if not wanted and arch and fitting:
        return fitting[0].name
    known = ", ".join(f"{each.isa} {each.name}" for each in boards())
    raise refused(
        element, f"there is no machine {f'{arch} {wanted}'.strip()[:60]!r}", f"there are: {known}"
    )
