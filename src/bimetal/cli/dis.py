"""``bimetal dis``: machine code as assembly, by the descriptions that also execute it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from bimetal import BimetalError, ExitCode, disassemble

__all__ = ["command"]

MACHINES = {"EM_RISCV": "riscv64"}
"""What the header of an ELF file says, and the instruction set's name here."""


@click.command("dis")
@click.argument("code", metavar="FILE|HEX")
@click.option("--arch", default="", help="Instruction set [an ELF file's own, or riscv64].")
@click.option("--address", type=str, default="0", help="Address of the first byte.")
def command(code: str, arch: str, address: str) -> None:
    """Disassemble the code of an ELF file, a raw file, or bytes given as hexadecimal digits.

    Digits are bytes in the order of memory ('13 05 15 00'), or one number after 0x, as manuals
    and listings print an instruction ('0x00150513').
    """
    start = _number(address)
    path = Path(code)
    if not path.is_file():
        _show(_bytes_of(code), start, arch or "riscv64", {})
        return
    try:
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                _show_elf(ELFFile(file), arch)
            else:
                file.seek(0)
                _show(file.read(), start, arch or "riscv64", {})
    except (OSError, ELFError) as error:
        raise BimetalError(f"{code} cannot be read: {error}", exit_code=ExitCode.DATA) from error


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


def _show_elf(elf: ELFFile, arch: str) -> None:
    machine = elf.header["e_machine"]
    arch = arch or MACHINES.get(machine, "")
    if not arch:
        raise BimetalError(f"there is no instruction set for {machine} yet", "name one in --arch")
    labels = dict(_labels(elf))
    for section in elf.iter_sections():
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and section["sh_type"] == "SHT_PROGBITS":
            click.echo(f"section {section.name}")
            _show(section.data(), section["sh_addr"], arch, labels)


def _labels(elf: ELFFile) -> Iterator[tuple[int, str]]:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.iter_symbols():
                if symbol.name and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE"):
                    yield symbol["st_value"], symbol.name


def _show(code: bytes, start: int, arch: str, labels: dict[int, str]) -> None:
    for address, raw, text in disassemble(code, arch, start):
        if address in labels:
            click.echo(f"{labels[address]}:")
        word = int.from_bytes(raw, "little")
        click.echo(f"{address:12x}:  {word:0{2 * len(raw)}x}{'':{10 - 2 * len(raw)}}{text}")
