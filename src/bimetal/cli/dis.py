"""``bimetal dis``: machine code as assembly, by the descriptions that also execute it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from bimetal import BimetalError, ExitCode, disassemble
from bimetal.cli.options import OnceEach

__all__ = ["command"]

MACHINES = {"EM_RISCV": "riscv64"}
"""What the header of an ELF file says, and the instruction set's name here."""


DEFAULT = "riscv64"


class Stretch(NamedTuple):
    """Code that belongs together, and the address of its first byte."""

    name: str
    address: int
    code: bytes


class Listing(NamedTuple):
    """What is to be disassembled; ``labels`` are the names of addresses."""

    arch: str
    labels: dict[int, str]
    stretches: list[Stretch]


@click.command("dis", cls=OnceEach)
@click.argument("code", metavar="FILE|HEX")
@click.option("--arch", default="", help="Instruction set [an ELF file's own, or riscv64].")
@click.option("--address", type=str, default="0", help="Address of the first byte.")
def command(code: str, arch: str, address: str) -> None:
    """Disassemble the code of an ELF file, a raw file, or bytes given as hexadecimal digits.

    Digits are bytes in the order of memory ('13 05 15 00'), or one number after 0x, as manuals
    and listings print an instruction ('0x00150513').
    """
    start = _number(address)
    if Path(code).is_file():
        listing = _read(Path(code), arch, start)
    else:
        listing = Listing(arch or DEFAULT, {}, [Stretch("", start, _bytes_of(code))])
    for stretch in listing.stretches:
        if stretch.name:
            click.echo(f"section {stretch.name}")
        _show(listing, stretch)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise BimetalError(
            f"{text!r} is no address", "write it like 0x80000000", ExitCode.USAGE
        ) from error


def _bytes_of(text: str) -> bytes:
    digits = text.replace("_", "").replace(" ", "")
    try:
        if digits.lower().startswith("0x"):
            return bytes.fromhex(digits[2:])[::-1]
        return bytes.fromhex(digits)
    except ValueError as error:
        raise BimetalError(
            f"{text!r} is neither a file nor hexadecimal bytes",
            "write bytes like 13051500 or a word like 0x00150513",
            ExitCode.USAGE,
        ) from error


def _read(path: Path, arch: str, start: int) -> Listing:
    try:
        data = path.read_bytes()
        if data.startswith(b"\x7fELF"):
            return _read_elf(ELFFile(io.BytesIO(data)), arch)
    except (OSError, ELFError) as error:
        raise BimetalError(f"{path} cannot be read: {error}", exit_code=ExitCode.DATA) from error
    return Listing(arch or DEFAULT, {}, [Stretch("", start, data)])


def _read_elf(elf: ELFFile, arch: str) -> Listing:
    machine = elf.header["e_machine"]
    arch = arch or MACHINES.get(machine, "")
    if not arch:
        raise BimetalError(f"there is no instruction set for {machine} yet", "name one in --arch")
    stretches = [
        Stretch(section.name, section["sh_addr"], section.data())
        for section in elf.iter_sections()
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and section["sh_type"] == "SHT_PROGBITS"
    ]
    return Listing(arch, dict(_labels(elf)), stretches)


def _labels(elf: ELFFile) -> Iterator[tuple[int, str]]:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.iter_symbols():
                if symbol.name and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE"):
                    yield symbol["st_value"], symbol.name


def _show(listing: Listing, stretch: Stretch) -> None:
    for address, raw, text in disassemble(stretch.code, listing.arch, stretch.address):
        if address in listing.labels:
            click.echo(f"{listing.labels[address]}:")
        word = int.from_bytes(raw, "little")
        click.echo(f"{address:12x}:  {word:0{2 * len(raw)}x}{'':{10 - 2 * len(raw)}}{text}")
