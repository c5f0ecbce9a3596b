"""Build Valgrind's programs that go through the instructions of AArch64, and run them in a guest.

    python -m tools.valgrind_tests [PATTERN]

Sources, and what most programs are to print, are those of Debian 13's package of Valgrind, fetched
when they are first needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import click

from bimetal.accel.choose import ENGINES
from tools.guest_programs import compare_in_guests
from tools.qemu_tests import compile_program
from tools.source_package import fetch_source, suite_folder

__all__ = ["expected", "programs"]

SUITE = "valgrind-tests"
TESTS = "none/tests"
PARTS = (f"{TESTS}/arm64/", f"{TESTS}/malloc.h", "include/", "tests/")
OPTIONS = "-O1 -w -static -DVGA_arm64=1 -DVGO_linux=1 -DVGP_arm64_linux=1".split()
PROGRAMS: Mapping[str, str] = {
    "atomics_v81": "-march=armv8.1-a",
    "bug489338": "",
    "crc32": "-march=armv8-a+crc",
    "cvtf_imm": "",
    "dc_cvax": "-march=armv8.5-a",
    "fmadd_sub": "",
    "fp_and_simd": "-march=armv8-a+crypto",
    "fp_and_simd_v82": "-march=armv8.2-a+fp16+crypto",
    "integer": "-O0 -DTEST_BFM=0",
    "ldxp_stxp": "",
    "memory_test": "",
    "sha512_v82": "-march=armv8.2-a+sha3",
    "simd_dotprod": "-march=armv8.2-a+dotprod",
    "simd_v81": "-march=armv8.1-a+crypto",
}
"""What each is built with. Left out: three in C++, and ``allexec``, which is about the tool."""

WITH_VECTORS = ("fp_and_simd", "fp_and_simd_v82", "sha512_v82")
"""Those that share a file."""


def sources() -> Path:
    """The package, as far as it is needed."""
    return fetch_source("valgrind", SUITE, PARTS)


def expected(name: str) -> str | None:
    """The digest of what a program is to print on any processor, if that is said."""
    path = sources() / TESTS / "arm64" / f"{name}.stdout.exp"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def programs(pattern: str = "*") -> dict[str, Path]:
    """The programs whose names match, built."""
    root, made = sources(), suite_folder(SUITE) / "built"
    folder = root / TESTS / "arm64"
    made.mkdir(exist_ok=True)
    (made / "config.h").touch()  # of what is looked for there, nothing is missing
    include = [f"-I{each}" for each in (made, root, root / "include", folder, root / TESTS)]
    found = {}
    for name, options in PROGRAMS.items():
        if fnmatch(name, pattern):
            files = [folder / f"{name}.c"] + [folder / "simd.c"] * (name in WITH_VECTORS)
            words = (*OPTIONS, *options.split(), *include, *files, "-lm", "-lpthread")
            found[name] = compile_program(made / name, *words)
    return found


@click.command()
@click.argument("pattern", default="*")
@click.option("--accel", type=click.Choice(list(ENGINES)), default="jit")
@click.option("--cpus", default=2, show_default=True)
def main(pattern: str, accel: str, cpus: int) -> None:
    """Run the programs that match PATTERN in a guest, and in the same under QEMU."""
    raise SystemExit(compare_in_guests(programs(pattern), accel, cpus))


if __name__ == "__main__":
    main()
