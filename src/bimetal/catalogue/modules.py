"""Kernel modules: which others a module needs, and the tables that ``modprobe`` looks them up in.

Debian's packages hold the modules without those tables (they are made at installation), so they
are read from the modules themselves: section ``.modinfo`` of each is a list of ``key=value``
strings that end in a zero byte (Linux, include/linux/moduleinfo.h).
"""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Iterable
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Module", "alias_table", "closure", "dependency_table"]


class Module(Struct, frozen=True):
    """One module, decompressed. ``needs`` are the names of those that must be loaded before."""

    name: str
    image: bytes
    needs: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name of its file in the guest."""
        return f"{self.name}.ko"


def closure(tree: Path, names: Iterable[str]) -> list[Module]:
    """The modules ``names`` and all that they need from the folder ``tree``, needed ones first.

    A name without a file is left out: the kernel has it built in.
    """
    files = {_name_of(path): path for path in sorted(tree.rglob("*.ko*"))}
    done: dict[str, Module] = {}

    def visit(name: str) -> None:
        if name in done or name not in files:
            return
        module = _read(name, files.pop(name))  # taken out: a circle of needs ends here
        for need in module.needs:
            visit(need)
        done[name] = module

    for name in names:
        visit(name.replace("-", "_"))
    return list(done.values())


def dependency_table(modules: Iterable[Module]) -> str:
    """``modules.dep`` for modules of which the needed ones come first: each file and, from the last
    one to the first, all that must be loaded before it."""
    known = {module.name: module for module in modules}
    order = {name: number for number, name in enumerate(known)}

    def before(module: Module) -> list[str]:
        names = [module.name]
        for name in names:  # grows while it is walked
            names += [n for n in known[name].needs if n in known and n not in names]
        return [known[name].file for name in sorted(names[1:], key=order.__getitem__, reverse=True)]

    return "".join(f"{m.file}: {' '.join(before(m))}".rstrip() + "\n" for m in known.values())


def alias_table(modules: Iterable[Module]) -> str:
    """``modules.alias``: the patterns of devices and services, and the module for each."""
    return "".join(f"alias {alias} {m.name}\n" for m in modules for alias in m.aliases)


def _name_of(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _read(name: str, path: Path) -> Module:
    image = _decompressed(path)
    info = _modinfo(path, image)
    needs = [need for value in info.get("depends", ()) for need in value.split(",") if need]
    for value in info.get("softdep", ()):
        head, _, rest = value.partition(":")
        if head.strip() == "pre":
            needs += rest.partition("post:")[0].split()
    underscored = tuple(dict.fromkeys(need.replace("-", "_") for need in needs))
    return Module(name, image, underscored, tuple(info.get("alias", ())))


def _decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        match path.suffix:
            case ".ko":
                return data
            case ".xz":
                return lzma.decompress(data)
            case ".gz":
                return gzip.decompress(data)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise BimetalError(
            f"the kernel module {path.name} is damaged: {error}",
            "fetch the guest again with --update",
            ExitCode.DATA,
        ) from error
    raise BimetalError(
        f"the kernel module {path.name} is compressed in a way that Python cannot undo",
        "use a guest whose modules are .ko, .ko.gz or .ko.xz",
        ExitCode.DATA,
    )


def _modinfo(path: Path, image: bytes) -> dict[str, list[str]]:
    try:
        section = ELFFile(io.BytesIO(image)).get_section_by_name(".modinfo")
        data: bytes = section.data() if section is not None else b""
    except ELFError as error:
        raise BimetalError(
            f"the kernel module {path.name} is no ELF file: {error}",
            "fetch the guest again with --update",
            ExitCode.DATA,
        ) from error
    info: dict[str, list[str]] = {}
    for item in data.split(b"\0"):
        key, equals, value = item.partition(b"=")
        if equals:
            info.setdefault(key.decode(), []).append(value.decode(errors="replace"))
    return info
