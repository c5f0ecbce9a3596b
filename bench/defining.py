"""From a definition to the guest's first instruction, beside libvirt with QEMU.

    python -m bench.defining [--rounds N]

Each round has both define the same machine, by the same document, and start it, by two commands as
a person would (``bimetal define``, ``bimetal start``; ``virsh define``, ``virsh start``), and takes
the time until the guest's first instructions have written a byte to the serial port. Rounds of the
two alternate; the first one is not counted. libvirtd runs already, and has asked QEMU what it can
do. The machine has a processor, 64 MiB and a serial port. It needs root, libvirt and QEMU (Debian:
``libvirt-daemon-system``, ``qemu-system-misc``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.stay import own_folders
from bimetal.isa.riscv import rv64
from tests.boot.bare import BASE
from tests.control.emulator.libvirt import Libvirt

__all__ = ["QEMU", "main", "write_first"]

NAME = "crab"
QEMU = "qemu-system-riscv64"
LIMIT, LOOK = 60, 0.0005
"""Seconds in which a guest has to say something, and between looks at what it has said."""

FIRST = ("lui t0, 0x10000", "addi t1, zero, 33", "sb t1, 0(t0)", "wfi", f"jal zero, {BASE + 12:#x}")
"""Write a byte to the serial port, and wait."""


TEXT = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<os><type arch='riscv64' machine='virt'>hvm</type><loader type='rom'>{program}</loader></os>
<devices><emulator>{emulator}</emulator><controller type='usb' model='none'/>
<serial type='file'><source path='{said}'/></serial><memballoon model='none'/></devices>
</domain>
"""


def write_first(path: Path) -> Path:
    """Write `FIRST` as firmware is: a raw binary."""
    lines = enumerate(FIRST)
    path.write_bytes(b"".join(rv64.assemble(line, BASE + 4 * number) for number, line in lines))
    return path


class Side:
    """One of the two: the ``command`` before its verbs, and the definition in ``folder``."""

    def __init__(self, folder: Path, command: Sequence[str], emulator: str):
        self._command, self._said = command, folder / "said"
        self._file = folder / "definition.xml"
        program = write_first(folder / "first.bin")
        self._file.write_text(
            TEXT.format(name=NAME, program=program, emulator=emulator, said=self._said)
        )

    def seconds(self) -> tuple[float, float]:
        """The seconds of a round: until it was defined, and until the guest had said something."""
        self._said.unlink(missing_ok=True)
        begun = time.perf_counter()
        self._run("define", str(self._file))
        defined = time.perf_counter() - begun
        self._run("start", NAME)
        while not (self._said.exists() and self._said.stat().st_size):
            if time.perf_counter() - begun > LIMIT:
                raise SystemExit(f"{self._command}: the guest says nothing")
            time.sleep(LOOK)
        taken = time.perf_counter() - begun
        self._run("destroy", NAME)
        self._run("undefine", NAME)
        return defined, taken

    def _run(self, *words: str) -> None:
        subprocess.run([*self._command, *words], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Measure, and print the medians, the ratio and all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    emulator = shutil.which(QEMU)
    if emulator is None:
        raise SystemExit(f"{QEMU} is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("ours", "theirs", "programs"):
            (folder / each).mkdir()
        os.environ.update(own_folders(folder / "ours"))
        (folder / "programs" / QEMU).symlink_to(emulator)
        libvirt = Libvirt(folder / "libvirt", folder / "programs")
        try:
            ours = Side(folder / "ours", [sys.executable, "-m", "bimetal"], emulator)
            theirs = Side(folder / "theirs", ["virsh", "-c", libvirt.uri], emulator)
            rounds = [(ours.seconds(), theirs.seconds()) for _ in range(given.rounds + 1)][1:]
        finally:
            libvirt.close()
    for title, number in (("ours", 0), ("libvirt", 1)):
        defined = statistics.median(each[number][0] for each in rounds)
        times = [each[number][1] for each in rounds]
        listed = " ".join(f"{each:.3f}" for each in times)
        print(f"{title}: {statistics.median(times):.3f} s, of that define {defined:.3f}: {listed}")
    ratios = [theirs / ours for (_, ours), (_, theirs) in rounds]
    middle = statistics.median(ratios)
    print(f"libvirt's time divided by ours: {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
