"""Measure how long an emulator takes to answer what libvirt asks of it, beside QEMU's.

python -m tools.emulator_probe [ROUNDS]

Each round starts an emulator as libvirt does, asks what libvirt 9.0 asks of one for RISC-V, and
takes the time from the start of the process to the last answer. Rounds of the two alternate.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bimetal.control.emulator.launchers import make_launchers

__all__ = ["main"]

PROGRAM = "qemu-system-riscv64"
LINE = (
    "-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg "
    "-qmp unix:{folder}/qmp,server=on,wait=off -pidfile {folder}/pid -daemonize"
)
BEFORE = """qmp_capabilities query-version query-target query-qmp-schema query-commands query-kvm
qom-list-types""".split()
DEVICES = """virtio-blk-pci virtio-net-pci virtio-scsi-pci virtio-net-ccw virtio-scsi-ccw vfio-pci
scsi-hd ide-hd PIIX4_PM usb-redir usb-storage kvm-pit VGA vmware-svga virtio-gpu-pci
virtio-gpu-device ICH9-LPC virtio-balloon-pci virtio-balloon-ccw virtio-balloon-device
pcie-root-port usb-host vhost-user-fs-device virtio-iommu-pci""".split()
TYPES = ("memory-backend-file", "memory-backend-memfd", "virt-machine", "none-machine")
AFTER = """query-tpm-models query-tpm-types query-command-line-options
query-migrate-capabilities""".split()


def questions() -> Iterator[dict[str, object]]:
    """What is asked, in order."""
    for command in BEFORE:
        yield {"execute": command}
    for name in DEVICES:
        yield {"execute": "device-list-properties", "arguments": {"typename": name}}
    yield {"execute": "query-machines"}
    for name in TYPES:
        yield {"execute": "qom-list-properties", "arguments": {"typename": name}}
    for command in AFTER:
        yield {"execute": command}


def seconds_of(program: str) -> float:
    """The seconds of one round."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(
            [program, *LINE.format(folder=folder).split()], check=True, stderr=subprocess.DEVNULL
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{folder}/qmp")
            lines = connection.makefile("rb")
            lines.readline()
            for question in questions():
                connection.sendall(json.dumps(question).encode())
                lines.readline()
            lines.close()
        taken = time.perf_counter() - begun
        os.kill(int(Path(folder, "pid").read_text()), signal.SIGTERM)
    return taken


def main(rounds: int) -> None:
    """Print the median seconds of each, and all of them."""
    with tempfile.TemporaryDirectory() as folder:
        make_launchers(Path(folder))
        programs = {"bimetal": f"{folder}/{PROGRAM}", "qemu": shutil.which(PROGRAM) or ""}
        taken: dict[str, list[float]] = {name: [] for name, path in programs.items() if path}
        for _ in range(rounds):
            for name, times in taken.items():
                times.append(seconds_of(programs[name]))
    for name, times in taken.items():
        listed = " ".join(f"{each:.3f}" for each in times)
        print(f"{name}: {statistics.median(times):.3f} s, of {listed}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
