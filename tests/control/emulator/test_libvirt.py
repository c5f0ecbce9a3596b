"""Unmodified libvirt takes our emulators for what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.control.emulator.libvirt import Libvirt
from tests.host import need, programs

pytestmark = [pytest.mark.slow, programs("libvirtd", "virsh", "unshare")]


@pytest.fixture(scope="module")
def libvirt(launchers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    need("libvirtd", "virsh", "unshare")
    running = Libvirt(tmp_path_factory.mktemp("lv"), launchers)
    try:
        yield running
    finally:
        running.close()


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
