"""Unmodified libvirt takes our emulators for what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from elftools.elf.elffile import ELFFile
from lxml import etree

from bimetal import images
from tests.control.emulator.domains import Domain
from tests.control.emulator.libvirt import Libvirt
from tests.host import programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare")]


@pytest.fixture
def domains(libvirt: Libvirt, tmp_path: Path) -> Iterator[Domain]:
    """Definitions in a folder of the test, whose machines are ended after it."""
    yield Domain(tmp_path, libvirt.programs / "qemu-system-riscv64")
    for name in libvirt.virsh("list", "--name").split():
        libvirt.run("destroy", name)
    for name in libvirt.virsh("list", "--all", "--name").split():
        libvirt.run("undefine", name, "--managed-save", "--snapshots-metadata")


def capabilities(libvirt: Libvirt, isa: str, machine: str = "virt") -> etree._Element:
    emulator = str(libvirt.programs / f"qemu-system-{isa}")
    words = ("--emulatorbin", emulator, "--arch", isa, "--machine", machine)
    return etree.fromstring(libvirt.virsh("domcapabilities", *words))


def values(element: etree._Element, path: str) -> set[str]:
    return {each.text for each in element.findall(path)}


@pytest.mark.parametrize("isa", ["riscv64", "aarch64"])
def test_what_libvirt_says_that_we_can_do(libvirt: Libvirt, isa: str) -> None:
    found = capabilities(libvirt, isa)
    assert (found.findtext("domain"), found.findtext("arch")) == ("qemu", isa)
    assert {"pflash"} <= values(found, "os/loader/enum[@name='type']/value")
    assert {"virtio", "scsi"} <= values(found, "devices/disk/enum[@name='bus']/value")
    assert {"virtio"} <= values(found, "devices/rng/enum[@name='model']/value")
    assert {"vnc"} == values(found, "devices/graphics/enum[@name='type']/value")
    assert found.find("devices/tpm").get("supported") == "no"
    assert found.find("devices/redirdev").get("supported") == "no"


def test_libvirt_finds_them_in_its_path(libvirt: Libvirt) -> None:
    found = etree.fromstring(libvirt.virsh("capabilities"))
    for isa in ("riscv64", "aarch64"):
        arch = found.find(f"guest/arch[@name='{isa}']")
        assert arch.findtext("emulator") == str(libvirt.programs / f"qemu-system-{isa}")


def test_processor_models_of_arm(libvirt: Libvirt) -> None:
    models = values(capabilities(libvirt, "aarch64"), "cpu/mode[@name='custom']/model")
    assert {"cortex-a57", "max"} <= models


def test_a_machine_with_all_that_it_usually_has(libvirt: Libvirt, domains: Domain) -> None:
    image = domains.folder / "disk.qcow2"
    images.create(str(image), "8M", format="qcow2")
    libvirt.virsh("define", domains.file("crab", image))
    libvirt.virsh("start", "crab")
    assert libvirt.virsh("domstate", "crab").strip() == "running"
    assert f"vda      {image}" in libvirt.virsh("domblklist", "crab")
    assert "vcpu.0.state=1" in libvirt.virsh("domstats", "crab")
    assert "CPU(s):         1" in libvirt.virsh("dominfo", "crab")
    assert "VM status: running" in libvirt.virsh(
        "qemu-monitor-command", "crab", "--hmp", "info status"
    )
    libvirt.virsh("suspend", "crab")
    assert libvirt.virsh("domstate", "crab", "--reason").strip() == "paused (user)"
    libvirt.virsh("resume", "crab")
    libvirt.virsh("reset", "crab")
    assert libvirt.virsh("domstate", "crab").strip() == "running"
    libvirt.virsh("destroy", "crab")
    assert libvirt.virsh("domstate", "crab").strip() == "shut off"


def test_its_console(libvirt: Libvirt, domains: Domain) -> None:
    libvirt.virsh("create", domains.file("echo", program="echo"))
    answers(libvirt, "echo")


def test_a_guest_that_switches_off(libvirt: Libvirt, domains: Domain) -> None:
    libvirt.virsh("define", domains.file("off", program="off"))
    libvirt.virsh("start", "off", "--paused")
    libvirt.virsh("resume", "off")
    libvirt.until("shut off (shutdown)", "domstate", "off", "--reason")


def test_what_is_wrong_is_told_to_who_starts_it(libvirt: Libvirt, domains: Domain) -> None:
    path = Path(domains.file("wrong"))
    path.write_text(path.read_text().replace('clock offset="utc"', 'clock offset="localtime"'))
    outcome = libvirt.run("create", str(path))
    assert outcome.returncode
    assert "base=localtime is not there" in outcome.stderr


def answers(libvirt: Libvirt, name: str) -> None:
    """The guest, which echoes, answers what is typed."""
    line = f"-c {libvirt.uri} console {name} --force"
    with pexpect.spawn("virsh", line.split(), encoding="utf-8", timeout=60) as console:
        console.expect("Escape character")
        console.send("hello")
        console.expect("hello")
        console.sendcontrol("]")
        console.expect(pexpect.EOF)


def test_a_machine_is_saved_and_goes_on(libvirt: Libvirt, domains: Domain) -> None:
    image, file = domains.folder / "disk.qcow2", domains.folder / "saved"
    images.create(str(image), "8M", format="qcow2")
    libvirt.virsh("define", domains.file("crab", image, program="echo"))
    libvirt.virsh("start", "crab")
    libvirt.virsh("save", "crab", str(file))
    assert libvirt.virsh("domstate", "crab", "--reason").strip() == "shut off (saved)"
    libvirt.virsh("restore", str(file))
    answers(libvirt, "crab")
    libvirt.virsh("managedsave", "crab")
    assert "Managed save:   yes" in libvirt.virsh("dominfo", "crab")
    libvirt.virsh("start", "crab")
    assert libvirt.virsh("domstate", "crab", "--reason").strip() == "running (restored)"
    answers(libvirt, "crab")


def test_disks_and_networks_are_plugged_in(libvirt: Libvirt, domains: Domain) -> None:
    image, other = domains.folder / "disk.qcow2", domains.folder / "other.qcow2"
    for path in (image, other):
        images.create(str(path), "8M", format="qcow2")
    libvirt.virsh("create", domains.file("crab", image))
    libvirt.virsh("attach-disk", "crab", str(other), "vdb", "--subdriver", "qcow2")
    assert f"vdb      {other}" in libvirt.virsh("domblklist", "crab")
    assert "rd_bytes 0" in libvirt.virsh("domblkstat", "crab", "vdb")
    assert "Capacity:       8388608" in libvirt.virsh("domblkinfo", "crab", "vdb")
    libvirt.virsh("blkdeviotune", "crab", "vdb", "--total-iops-sec", "1000", "--live")
    assert "total_iops_sec : 1000" in libvirt.virsh("blkdeviotune", "crab", "vdb")
    nic = domains.folder / "nic.xml"
    nic.write_text(
        '<interface type="user"><mac address="52:54:00:aa:bb:01"/>'
        '<model type="virtio"/></interface>'
    )
    libvirt.virsh("attach-device", "crab", str(nic))
    assert "52:54:00:aa:bb:01" in libvirt.virsh("domiflist", "crab")
    for state in ("down", "up"):
        libvirt.virsh("domif-setlink", "crab", "52:54:00:aa:bb:01", state)
        assert state in libvirt.virsh("domif-getlink", "crab", "52:54:00:aa:bb:01")
    libvirt.virsh("save", "crab", str(domains.folder / "saved"))
    libvirt.virsh("restore", str(domains.folder / "saved"))
    assert f"vdb      {other}" in libvirt.virsh("domblklist", "crab")


def test_a_screen_keys_media_and_states_in_disks(libvirt: Libvirt, domains: Domain) -> None:
    image, medium = domains.folder / "disk.qcow2", domains.folder / "medium.iso"
    images.create(str(image), "64M", format="qcow2")
    medium.write_bytes(bytes(1 << 20))
    libvirt.virsh("define", domains.file("crab", image, program="echo", screen=True))
    libvirt.virsh("start", "crab")
    assert libvirt.virsh("vncdisplay", "crab").strip().startswith("127.0.0.1:")
    assert "does not listen" in libvirt.run("send-key", "crab", "KEY_A").stderr
    libvirt.virsh("change-media", "crab", "sda", str(medium), "--insert")
    assert f"sda      {medium}" in libvirt.virsh("domblklist", "crab")
    libvirt.virsh("change-media", "crab", "sda", "--eject")
    assert "sda      -" in libvirt.virsh("domblklist", "crab")
    libvirt.virsh("setmem", "crab", "24M", "--live")
    libvirt.virsh("snapshot-create-as", "crab", "first")
    assert "first" in libvirt.virsh("snapshot-list", "crab", "--name")
    libvirt.virsh("snapshot-revert", "crab", "first")
    answers(libvirt, "crab")
    libvirt.virsh("snapshot-delete", "crab", "first")
    assert "first" not in libvirt.virsh("snapshot-list", "crab", "--name")


def test_a_core_file_by_libvirt(libvirt: Libvirt, domains: Domain) -> None:
    libvirt.virsh("define", domains.file("crab"))
    libvirt.virsh("start", "crab")
    core = domains.folder / "core"
    libvirt.virsh("dump", "crab", str(core), "--memory-only", "--live")
    assert libvirt.virsh("domstate", "crab").strip() == "running"
    with core.open("rb") as file:
        elf = ELFFile(file)
        assert (elf.header.e_type, elf.header.e_machine) == ("ET_CORE", "EM_RISCV")
        assert sum(each["p_memsz"] for each in elf.iter_segments("PT_LOAD")) >= 32 << 20
