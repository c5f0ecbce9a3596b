"""The ACPI and SMBIOS tables of arm-virt beside those of QEMU 7.2."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.boards.still import Board
from tests.devices.qtest import Qtest
from tests.firmware.acpi.reading import disassembled, find_tables, run_loader

FW_CFG = 0x902_0000
DATA, SELECTOR = FW_CFG, FW_CFG + 8
DIRECTORY = 0x19
ROOT, TABLES = "etc/acpi/rsdp", "etc/acpi/tables"
PLACES = {ROOT: 0x1000, TABLES: 0x8000_0000}
FILES = {
    *(ROOT, TABLES, "etc/table-loader"),
    *("etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"),
}

BOARDS = {
    "arm-virt": "virt-4.1,gic-version=2",
    "arm-virt,gic=3": "virt-4.1,gic-version=3",
    "arm-virt,gic=3,virtualization=on": "virt-4.1,gic-version=3,virtualization=on",
}
"""QEMU's boards with the power key at the GPIO, as ours has it."""

HEADER = {"Revision", "Checksum", "Oem ID", "Oem Table ID", "Asl Compiler ID", "Table Length"}
DIFFERING = {
    "APIC": {
        "Performance Interrupt",  # no performance monitors
        "Virtual GIC Base Address",  # no virtual interrupts by the controller
        "Hypervisor GIC Base Address",
        "Virtual GIC Interrupt",
    },
    "FACP": {"Flags (decoded below)", "FADT Minor Revision", "DSDT Address", "Hypervisor ID"},
    # All timers go on whatever CPUs do, not that of EL1 alone.
    "GTDT": {"EL1 Flags (decoded below)", "VT Flags (decoded below)", "NEL2 Flags (decoded below)"},
    "MCFG": set(),
    "SPCR": {"Baud Rate", "Flow Control"},
    "DBG2": {"Length", "Namepath Length", "Namepath"},
}
"""What is said otherwise, by table."""

NODE = ("Flags (decoded below)", "Parent", "ACPI Processor ID")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "bios").write_bytes(b"\x05\0\0\x14" + b"firmware" * 100)
    return tmp_path


def ours(name: str, folder: Path, cpus: int = 2) -> dict[str, bytes]:
    """The files that firmware finds on our board."""
    made = Board(name, "x0", bios=folder / "bios", cpus=cpus, memory="256M")
    with made.vm:
        items = made.vm["fw_cfg@9020000"].items
        return dict(named(items[DIRECTORY], lambda number, size: items[number][:size]))


def theirs(machine: str) -> dict[str, bytes]:
    """Those that it finds on QEMU's."""
    peer = Qtest("qemu-system-aarch64", machine, "-smp", "2", "-m", "256", "-cpu", "cortex-a57")

    def item(number: int, size: int) -> bytes:
        size = min(size, 0x4000)  # that of tables has 128 KiB, most of them zeroes
        peer.write(SELECTOR, number << 8, 2)
        return b"".join(peer.read(DATA, 8).to_bytes(8, "little") for _ in range(0, size, 8))[:size]

    try:
        (count,) = struct.unpack(">I", item(DIRECTORY, 4))
        return dict(named(item(DIRECTORY, 4 + 64 * count), item))
    finally:
        peer.close()


def named(directory: bytes, item: Callable[[int, int], bytes]) -> Iterator[tuple[str, bytes]]:
    """The files of a directory that are for firmware's tables; ``item`` has their contents."""
    (count,) = struct.unpack_from(">I", directory)
    for number in range(count):
        size, key, name = struct.unpack_from(">IHxx56s", directory, 4 + 64 * number)
        if (text := name.rstrip(b"\0").decode()) in FILES:
            yield text, item(key, size)


def tables(files: Mapping[str, bytes], folder: Path) -> dict[str, str]:
    """The source of each table, once firmware has loaded them."""
    folder.mkdir()
    return disassembled(find_tables(run_loader(files, PLACES), PLACES[ROOT]), folder)


def fields(source: str) -> list[tuple[str, str]]:
    """The names and values of a table that is data."""
    found = re.findall(r"^\[[^\]]*\] +(.*?) : (.*)$", source, re.MULTILINE)
    return [(name, value.strip()) for name, value in found if name not in HEADER]


def devices(source: str) -> dict[str, str]:
    """The text of each device of a DSDT by its name, without comments and line ends."""
    plain = re.sub(r"//.*|/\*.*?\*/", "", source)
    parts = re.split(r"Device \((\w+)\)", " ".join(plain.split()))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", BOARDS)
def test_tables_beside_those_of_qemu(files: Path, name: str) -> None:
    """Whatever both have, they say alike, but for what is listed."""
    mine, peers = ours(name, files), theirs(BOARDS[name])
    assert mine.keys() == peers.keys() == FILES
    own, peer = tables(mine, files / "own"), tables(peers, files / "peer")
    for table, differing in DIFFERING.items():
        said = [each for each in fields(own[table]) if each[0] not in differing]
        wanted = [each for each in fields(peer[table]) if each[0] not in differing]
        assert said[: len(wanted)] == wanted, table
        assert len(wanted) > 4
    assert set(peer) - set(own) == ({"IORT"} if "gic=3" not in name else set())
    assert set(own) - set(peer) == {"PPTT"}  # QEMU's newer boards have one


@pytest.fixture
def both(files: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The devices of our DSDT and of QEMU's."""
    name, machine = next(iter(BOARDS.items()))
    own, peer = ours(name, files), theirs(machine)
    return (
        devices(tables(own, files / "own")["DSDT"]),
        devices(tables(peer, files / "peer")["DSDT"]),
    )


def test_devices_beside_those_of_qemu(both: tuple[dict[str, str], dict[str, str]]) -> None:
    """The same identifiers, numbers and resources."""
    mine, peers = both
    peers["FWC0"] = peers.pop("FWCF")
    assert mine.keys() - peers.keys() == {"TST0", "VGEN", "GED0"}
    missing = {name for name in peers if name not in mine}
    assert missing == {"GSI0", "GSI1", "GSI2", "GSI3"}, "QEMU's links to interrupts"
    for name in mine.keys() & peers.keys():
        for what in (r'Name \(_HID, (?:EisaId \()?("\w+")', r"_UID, (\w+)", r"_CRS, (.*?)\}\)"):
            told = re.search(what, peers[name])
            if told is not None:
                found = re.search(what, mine[name])
                assert found is not None, name
                assert found[1] == told[1], name


def test_the_power_key_is_a_line_of_the_gpio(
    both: tuple[dict[str, str], dict[str, str]],
) -> None:
    mine, peers = (each["GPO0"].split("_AEI, ")[1].strip(" }") for each in both)
    same = {"PullDown": "PullUp", "GPO0": "GPO0", "PWRB": "PWRB"}
    for ours, theirs in same.items():
        mine = re.sub(rf"(\\*_SB_?\.)?{ours}", theirs, mine)
    assert mine == peers


def test_disks_are_told_in_the_order_of_their_slots(
    both: tuple[dict[str, str], dict[str, str]],
) -> None:
    """Kernels number disks as they are told of them, and the first is in the last slot."""
    slots = [name for name in both[0] if name.startswith("VR")]
    assert slots == [f"VR{number:02}" for number in reversed(range(32))]


def test_the_test_finisher_is_told_by_its_name_in_device_trees(files: Path) -> None:
    told = devices(tables(ours("arm-virt", files), files / "own")["DSDT"])["TST0"]
    assert '"PRP0001"' in told
    assert 'Package (0x02) { "compatible", "sifive,test1" }' in told


def test_an_event_tells_that_the_generation_id_is_another(files: Path) -> None:
    """As tables of QEMU's PC tell it, where the event is one of the GPE block."""
    told = devices(tables(ours("arm-virt", files), files / "own")["DSDT"])
    assert '_HID, "QEMUVGID"' in told["VGEN"]
    assert '_CID, "VM_Gen_Counter"' in told["VGEN"]
    assert "ADDR, Package (0x02) { 0x09110000, Zero }" in told["VGEN"]
    event = told["GED0"]
    assert '_HID, "ACPI0013"' in event
    assert "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x0000002A, }" in event
    assert "If ((Arg0 == 0x2A)) { Notify (\\_SB.VGEN, 0x80)" in event


@pytest.mark.parametrize(
    ("name", "flags"), [("arm-virt", "0003"), ("arm-virt,virtualization=on", "0001")]
)
def test_how_psci_is_called(files: Path, name: str, flags: str) -> None:
    source = tables(ours(name, files), files / "own")["FACP"]
    assert dict(fields(source))["ARM Flags (decoded below)"] == flags


@pytest.mark.parametrize("name", ["arm-virt", "arm-virt,virtualization=on"])
def test_the_timer_of_a_host_at_el2(files: Path, name: str) -> None:
    source = tables(ours(name, files), files / "own")["GTDT"]
    line = "0000001C" if "virtualization" in name else "00000000"
    assert dict(fields(source))["Virtual EL2 Timer GSIV"] == line


def test_cpus_are_known_by_their_affinities(files: Path) -> None:
    """There are 16 in a cluster."""
    found = tables(ours("arm-virt,gic=3", files, cpus=123), files / "own")
    told = [int(value, 16) for name, value in fields(found["APIC"]) if name == "ARM MPIDR"]
    assert told == [number // 16 << 8 | number % 16 for number in range(123)]
    assert sum(name.startswith("C0") for name in devices(found["DSDT"])) == 123


def test_functions_send_messages_to_the_interrupt_translation_service(files: Path) -> None:
    told = fields(tables(ours("arm-virt,gic=3", files), files / "own")["IORT"])
    for each in (
        *(("Node Count", "00000002"), ("ItsCount", "00000001"), ("Type", "02")),
        *(("ID Count", "0000FFFF"), ("Output Reference", "00000030")),
    ):
        assert each in told


def test_interrupts_of_slots_are_swizzled(files: Path) -> None:
    told = devices(tables(ours("arm-virt", files), files / "own")["DSDT"])["PCI0"]
    routes = re.findall(r"Package \(0x04\) \{ (\w+), (\w+), Zero, (\w+) \}", told)
    words = {"Zero": "0", "One": "1"}
    assert [[int(words.get(word, word), 16) for word in each] for each in routes] == [
        [slot << 16 | 0xFFFF, pin, 35 + (slot + pin) % 4] for slot in range(32) for pin in range(4)
    ]


def test_a_board_without_acpi_has_an_inventory_all_the_same(files: Path) -> None:
    found = ours("arm-virt,acpi=off", files)
    assert found.keys() == {"etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"}


def test_a_kernel_without_firmware_looks_for_no_tables(files: Path) -> None:
    made = Board("arm-virt", "x0", kernel=files / "bios")
    with made.vm:
        assert DIRECTORY not in made.vm["fw_cfg@9020000"].items


def test_processors_are_cores_of_one_package(files: Path) -> None:
    told = fields(tables(ours("arm-virt", files), files / "own")["PPTT"])
    flags, parents, numbers = ([value for name, value in told if name == each] for each in NODE)
    assert flags == ["00000011", "0000000A", "0000000A"], "a package of equals, and two leaves"
    assert parents == ["00000000", "00000024", "00000024"]
    assert numbers == ["00000000", "00000000", "00000001"]
