"""From the start of a process to the guest's first instruction, beside QEMU's.

    python -m bench.starting [--rounds N]

The guest is a bare program on a machine with 64 MiB, which writes a byte to the serial port, and
what is timed is until that byte is there. Rounds of the two alternate; the first one, in which
Python compiles modules and we an interpreter, is not counted. It needs QEMU (Debian:
``qemu-system-misc``).
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.defining import QEMU, write_first

__all__ = ["main"]


def seconds(command: Sequence[str]) -> float:
    """The seconds until a program that runs the guest has passed its byte on."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        said = os.read(process.stdout.fileno(), 1)
        taken = time.perf_counter() - begun
        process.kill()
    if not said:
        raise SystemExit(f"{command}: the guest says nothing")
    return taken


def main() -> None:
    """Measure, and print the medians and all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = write_first(Path(folder) / "first.bin")
        ours = f"{sys.executable} -m bimetal run --board riscv-virt -m 64 --bios {program}"
        theirs = f"{QEMU} -M virt -m 64 -nographic -monitor none -serial stdio -bios {program}"
        commands = [shlex.split(each) for each in (ours, theirs)]
        rounds = [[*map(seconds, commands)] for _ in range(given.rounds + 1)][1:]
    for title, taken in zip(("ours", "QEMU"), zip(*rounds, strict=True), strict=True):
        listed = " ".join(f"{each:.3f}" for each in taken)
        print(f"{title}: {statistics.median(taken):.3f} s: {listed}")


if __name__ == "__main__":
    main()
