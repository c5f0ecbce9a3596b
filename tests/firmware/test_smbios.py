"""SMBIOS tables as dmidecode reads them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from bimetal.firmware.smbios import Inventory, smbios_files
from tests.host import program_path, programs

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
FAMILY = 0x101


def decoded(folder: Path, cpus: int = 2, memory: int = 256 * MIB, at: int = GIB) -> dict[str, str]:
    """What dmidecode prints: lines by title of the structure and name. A dump has the entry point
    at its start and the tables at 32."""
    files = smbios_files(Inventory("Machine", "board", cpus, FAMILY, memory, at))
    anchor = bytearray(files["etc/smbios/smbios-anchor"])
    assert sum(anchor) & 0xFF == 0
    struct.pack_into("<Q", anchor, 16, 32)
    anchor[5] = (anchor[5] - 32) & 0xFF
    dump = folder / "dump"
    dump.write_bytes(bytes(anchor).ljust(32, b"\0") + files["etc/smbios/smbios-tables"])
    command = [program_path("dmidecode"), "--from-dump", str(dump)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert not any(word in done.stdout for word in ("BAD INDEX", "OUT OF SPEC", "TRUNCATED"))
    lines, title = {}, ""
    for line in done.stdout.splitlines():
        name, colon, value = line.strip().partition(": ")
        if colon:
            lines[f"{title}/{name}"] = value
        elif line and not line.startswith(("\t", "Handle")):
            title = line
    return lines


@programs("dmidecode")
def test_what_an_inventory_shows(tmp_path: Path) -> None:
    said = decoded(tmp_path)
    expected = {
        "System Information/Manufacturer": "Bimetal",
        "System Information/Product Name": "Machine",
        "System Information/Version": "board",
        "System Information/UUID": "Not Settable",
        "System Information/Wake-up Type": "Power Switch",
        "Chassis Information/Manufacturer": "Bimetal",
        "Chassis Information/Type": "Other",
        "Chassis Information/Boot-up State": "Safe",
        "Processor Information/Socket Designation": "CPU 0",
        "Processor Information/Type": "Central Processor",
        "Processor Information/Family": "ARMv8",
        "Processor Information/Version": "board",
        "Processor Information/Max Speed": "2000 MHz",  # as QEMU's
        "Processor Information/Current Speed": "2000 MHz",
        "Processor Information/Status": "Populated, Enabled",
        "Processor Information/Core Count": "2",
        "Processor Information/Thread Count": "2",
        "Physical Memory Array/Maximum Capacity": "256 MB",
        "Physical Memory Array/Number Of Devices": "1",
        "Memory Device/Size": "256 MB",
        "Memory Device/Form Factor": "DIMM",
        "Memory Device/Type": "RAM",
        "Memory Array Mapped Address/Starting Address": "0x00040000000",
        "Memory Array Mapped Address/Ending Address": "0x0004FFFFFFF",
        "Memory Array Mapped Address/Range Size": "256 MB",
        "System Boot Information/Status": "No errors detected",
    }
    assert {name: said.get(name) for name in expected} == expected


@programs("dmidecode")
@pytest.mark.parametrize(
    ("memory", "shown"),
    [
        (1 * MIB, ("1 MB", "1 MB", "0x000400FFFFF")),
        (32767 * MIB, ("32767 MB", "32767 MB", "0x0083FEFFFFF")),
        (64 * GIB, ("64 GB", "64 GB", "0x0103FFFFFFF")),
        (2 * TIB, ("2 TB", "2 TB", "0x2003FFFFFFF")),
        (16 * TIB, ("16 TB", "16 TB", "0x000010003FFFFFFFk")),
    ],
)
def test_memory_of_every_size(tmp_path: Path, memory: int, shown: tuple[str, ...]) -> None:
    said = decoded(tmp_path, memory=memory)
    names = (
        "Physical Memory Array/Maximum Capacity",
        "Memory Device/Size",
        "Memory Array Mapped Address/Ending Address",
    )
    assert tuple(said[name] for name in names) == shown


@programs("dmidecode")
@pytest.mark.parametrize("cpus", [1, 255, 300])
def test_every_number_of_cpus(tmp_path: Path, cpus: int) -> None:
    assert decoded(tmp_path, cpus=cpus)["Processor Information/Core Count"] == str(cpus)
