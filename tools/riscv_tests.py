"""Build the public riscv-tests with Debian's cross compiler and run them.

    python tools/riscv_tests.py build SOURCE     SOURCE: a checkout of riscv-tests with its env/
    python tools/riscv_tests.py run [PATTERN]    whole suite, or what matches, say 'rv64u[im]-p-*'

The programs report by a store to the symbol ``tohost``: 1 means passed, 2 n + 1 that test case n
failed. The suite is not part of this project; the programs land in the cache folder.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import click

from bimetal.catalogue import cache_folder
from tools.tohost import ACCELERATORS, PASSED, run_program

PREFIX = "riscv64-linux-gnu-"
OPTIONS = (
    "-static -mcmodel=medany -fvisibility=hidden -nostdlib -nostartfiles"
    " -fno-pic -no-pie -Wl,--build-id=none -Wl,--no-warn-rwx-segments"
)
SHOWN = 40


def programs_folder() -> Path:
    """Where the built programs lie."""
    return cache_folder() / "suites" / "riscv-tests"


@click.group()
def main() -> None:
    """Build and run the public riscv-tests."""


@main.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--jobs", "-j", default=2, show_default=True, help="Compilations at a time.")
def build(source: Path, jobs: int) -> None:
    """Build the suite of SOURCE, a checkout with env/ filled in.

    The suite's own makefile leaves out what the compiler cannot build and goes on.
    """
    makefile = source.resolve() / "isa" / "Makefile"
    if not (source / "env" / "v" / "entry.S").exists():
        raise click.ClickException(f"{source}/env is empty: check out riscv-test-env there")
    folder = programs_folder()
    # Debian has the C library's headers for lp64d alone, and they ask for a list of stubs by ABI.
    stubs = folder / "include" / "gnu" / "stubs-lp64.h"
    stubs.parent.mkdir(parents=True, exist_ok=True)
    stubs.touch()
    subprocess.run(
        [
            "make",
            "--silent",
            "--keep-going",
            f"--jobs={jobs}",
            f"--file={makefile}",
            f"src_dir={makefile.parent}",
            "XLEN=64",
            f"RISCV_PREFIX={PREFIX}",
            "RISCV_OBJDUMP=true",
            f"RISCV_GCC_OPTS={OPTIONS} -I{folder / 'include'}",
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    for listing in folder.glob("*.dump"):
        listing.unlink()
    click.echo(f"{len(programs('*'))} programs in {folder}")


def programs(pattern: str) -> list[Path]:
    """The built programs whose name matches."""
    return sorted(
        path
        for path in programs_folder().glob("rv64*")
        if path.is_file() and fnmatch(path.name, pattern)
    )


@main.command()
@click.argument("pattern", default="*")
@click.option("--accel", type=click.Choice(ACCELERATORS), default=ACCELERATORS[0])
@click.option("--seconds", default=20.0, show_default=True, help="Limit for one program.")
def run(pattern: str, accel: str, seconds: float) -> None:
    """Run the programs that match PATTERN and print 'N passed, N failed'; Ctrl-C ends it with what
    is known by then."""
    chosen = programs(pattern)
    if not chosen:
        raise click.ClickException(f"no program matches {pattern!r}: build the suite first")
    verdicts: dict[str, str] = {}
    with suppress(KeyboardInterrupt):
        for path in chosen:
            verdicts[path.name] = run_program(path, accel, seconds)
    failures = {name: verdict for name, verdict in verdicts.items() if verdict != PASSED}
    for name, verdict in list(failures.items())[:SHOWN]:
        click.echo(f"{name}: {verdict}")
    left = len(chosen) - len(verdicts)
    rest = f", {left} not run" if left else ""
    click.echo(f"{len(verdicts) - len(failures)} passed, {len(failures)} failed{rest}")
    raise SystemExit(bool(failures or left))


if __name__ == "__main__":
    main()
