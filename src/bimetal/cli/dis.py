"""``bimetal dis``: machine code as assembly, by the descriptions that also execute it."""

from __future__ import annotations

from pathlib import Path

import click

from bimetal import BimetalError, ExitCode, disassemble
from bimetal.cli.code import ARCHITECTURES, BY_BYTES, DEFAULT_ARCH, Stretch, read_code
from bimetal.cli.options import OnceEach

__all__ = ["command"]

DIGITS, DIGITS_OF_BYTES = 8, 20
"""Columns for an instruction as a number, or as bytes; longer ones take more."""


@click.command("dis", cls=OnceEach)
@click.argument("code", metavar="FILE|HEX")
@click.option(
    "--arch",
    metavar="NAME",
    default="",
    help=f"{', '.join(ARCHITECTURES.values())} [what the file says, or {DEFAULT_ARCH}].",
)
@click.option("--address", type=str, default="0", help="Address of the first byte.")
def command(code: str, arch: str, address: str) -> None:
    """Disassemble the code of an ELF file or an archive of such, a raw file, or bytes given as
    hexadecimal digits.

    Digits are bytes in the order of memory ('13 05 15 00'), or one number after 0x, as manuals
    and listings print an instruction ('0x00150513').
    """
    start = _number(address)
    if code and Path(code).exists():
        for stretch in read_code(Path(code), arch, start):
            _show(stretch)
    else:
        _show(Stretch("", arch or DEFAULT_ARCH, start, _bytes_of(code)))


def _number(text: str) -> int:
    wrong = BimetalError(
        f"{text!r} is no address of 64 bits", "write it like 0x80000000", ExitCode.USAGE
    )
    try:
        number = int(text, 0)
    except ValueError as error:
        raise wrong from error
    if not 0 <= number < 1 << 64:
        raise wrong
    return number


def _bytes_of(text: str) -> bytes:
    digits = text.replace("_", "").replace(" ", "").lower()
    is_number = digits.startswith("0x")
    try:
        found = bytes.fromhex(digits.removeprefix("0x"))
    except ValueError:
        found = b""
    if not found:
        raise BimetalError(
            f"{text!r} is neither a file nor hexadecimal bytes",
            "write bytes like 13051500 or a word like 0x00150513",
            ExitCode.USAGE,
        )
    return found[::-1] if is_number else found


def _show(stretch: Stretch) -> None:
    lines = disassemble(stretch.code, stretch.arch, stretch.address)
    if stretch.name:
        click.echo(stretch.name)
    for address, raw, text in lines:
        for label in stretch.labels.get(address, ()):
            click.echo(f"{label}:")
        if stretch.arch in BY_BYTES:
            shown = f"{raw.hex(' '):{DIGITS_OF_BYTES}}"
        else:
            number = f"{int.from_bytes(raw, 'little'):0{2 * len(raw)}x}"
            shown = f"{number:{DIGITS}}"
        click.echo(f"{address:12x}:  {shown}  {text}")
