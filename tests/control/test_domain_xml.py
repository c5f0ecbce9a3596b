"""libvirt's domain XML: what is read of it, what is said of the rest, and what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from lxml import etree

from bimetal.base.errors import BimetalError
from bimetal.control import Definition, DiskPart, NicPart, PortPart, ScreenPart, SharePart
from bimetal.control.domain_xml.parsing import SIZE_LIMIT
from bimetal.control.domain_xml.reading import read_definition
from bimetal.control.domain_xml.writing import with_run, write_definition
from bimetal.control.json_form import read_json, write_json
from tests.host import programs

MIB = 1 << 20
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
ID = UUID("28400fb6-cf9e-4c59-b251-9bed7a41f05a")

SMALL = """<domain type='qemu'>
  <name>crab</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='riscv64' machine='virt'>hvm</type></os>
</domain>"""


def changed(inside: str = "", devices: str = "") -> str:
    """The small definition with more elements."""
    more = f"{inside}<devices>{devices}</devices></domain>"
    return SMALL.replace("</domain>", more)


LARGE = """<domain type='kvm' id='7'>
  <name>whale</name>
  <uuid>28400fb6-cf9e-4c59-b251-9bed7a41f05a</uuid>
  <title>A large one</title>
  <metadata><somebody:else xmlns:somebody="urn:x"><somebody:thing/></somebody:else></metadata>
  <memory>2097152</memory>
  <currentMemory>1048576</currentMemory>
  <vcpu placement='static'>4</vcpu>
  <resource><partition>/machine</partition></resource>
  <os>
    <type arch='aarch64' machine='virt-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/srv/CODE.fd</loader>
    <nvram template='/srv/VARS.fd'>/srv/whale.fd</nvram>
    <boot dev='hd'/>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>some-cpu</model></cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='/srv/a.qcow2' index='1'/>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <serial>S1</serial>
      <alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/vg/lv'/><target dev='sda' bus='scsi'/><readonly/><transient/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>
    <controller type='usb' index='0' model='qemu-xhci' ports='15'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <interface type='user'>
      <mac address='52:54:00:c9:74:23'/><model type='virtio'/>
      <portForward proto='tcp' address='127.0.0.1'>
        <range start='2222' to='22'/><range start='8000' end='8001'/>
      </portForward>
    </interface>
    <interface type='network'><source network='default'/><model type='e1000'/></interface>
    <filesystem type='mount' accessmode='mapped'>
      <source dir='/srv/share'/><target dir='work'/><readonly/>
    </filesystem>
    <serial type='pty'><source path='/dev/pts/3'/><target port='0'/></serial>
    <console type='pty' tty='/dev/pts/3'><target type='serial' port='0'/></console>
    <channel type='unix'><source mode='bind' path='/srv/a.sock'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <input type='tablet' bus='usb'/>
    <graphics type='vnc' port='-1'/>
    <video><model type='virtio'/></video>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>"""


MANY_PORTS = """<interface type='user'><portForward proto='tcp'>
<range start='1' end='9999'/></portForward></interface>"""


def test_what_is_read() -> None:
    whale = read_definition(LARGE)
    assert (whale.name, whale.uuid, whale.title) == ("whale", ID, "A large one")
    assert (whale.memory, whale.cpus, whale.accel, whale.board) == (
        2048 * MIB,
        4,
        "kvm",
        "arm-virt",
    )
    assert whale.flash == ("/srv/CODE.fd", "/srv/whale.fd")
    assert whale.flash_template == "/srv/VARS.fd"
    assert whale.disks == (
        DiskPart("/srv/a.qcow2", "vda", "qcow2", serial="S1"),
        DiskPart("/dev/vg/lv", "sda", bus="scsi", readonly=True, snapshot=True),
        DiskPart("", "sdb", bus="scsi", cdrom=True, readonly=True),
    )
    forwards = [
        "hostfwd=tcp:127.0.0.1:2222-:22",
        "hostfwd=tcp:127.0.0.1:8000-:8000",
        "hostfwd=tcp:127.0.0.1:8001-:8001",
    ]
    assert whale.nics == (NicPart(",".join(["user", *forwards]), "52:54:00:c9:74:23"), NicPart())
    assert whale.shares == (SharePart("/srv/share", "work", True, "mapped-xattr"),)
    assert whale.ports == (PortPart("org.qemu.guest_agent.0", "/srv/a.sock"),)
    assert (whale.screen, whale.inputs) == (ScreenPart("virtio", vnc="auto"), ("tablet,bus=usb",))
    assert whale.usb
    assert (whale.serial, whale.balloon, whale.reboot) == ("pty", True, True)


def test_what_has_no_effect_is_said_with_its_line() -> None:
    notes = read_definition(LARGE).notes
    for place in (
        "line 17: cpu/model",
        "line 34: devices/disk/target",
        "line 43: devices/interface: type='network'",
        "line 51: devices/channel",
    ):
        assert any(note.startswith(place) for note in notes), (place, notes)


@pytest.mark.parametrize(
    ("devices", "screen"),
    [
        ("<video><model type='ramfb'/></video>", ScreenPart("ramfb", vnc="")),
        ("<graphics type='spice'/><video/>", ScreenPart(vnc="")),
        ("<graphics type='vnc' autoport='yes' port='5901'/>", ScreenPart(vnc="auto")),
        ("<graphics type='vnc' port='5901'/>", ScreenPart(vnc="127.0.0.1::5901")),
        ("<graphics type='vnc' socket='/srv/a'/>", ScreenPart(vnc="unix:/srv/a")),
        ("<graphics type='vnc'/><video><model type='vga'/></video>", ScreenPart(vnc="auto")),
        ("<graphics type='vnc'/><video><model type='none'/></video>", None),
        ("<input type='mouse'/>", None),
    ],
)
def test_screens(devices: str, screen: ScreenPart | None) -> None:
    text = SMALL.replace("</domain>", f"<devices>{devices}</devices></domain>")
    assert read_definition(text).screen == screen


def test_the_least_that_is_a_definition() -> None:
    crab = read_definition(SMALL)
    assert crab == Definition("crab", crab.uuid, "riscv-virt", 64 * MIB, accel="jit", serial="none")
    assert read_definition(SMALL).uuid != crab.uuid
    assert not crab.notes


@pytest.mark.parametrize(
    ("inside", "devices", "why"),
    [
        ("<colour>red</colour>", "", r"line 5: colour: there is no such element"),
        ("<vcpus/><vcpu>two</vcpu>", "", "'two' is no number"),
        ("", "<dsk/>", r"devices/dsk: there is no such element.*did you mean disk"),
        ("", "<hostdev mode='subsystem'/>", "are not given to guests"),
        ("", "<tpm model='tpm-crb'/>", "there is no TPM"),
        ("", "<graphics type='vnc' port='70000'/>", "70000 is no port"),
        ("", "<graphics type='vnc' port='-1' listen='0.0.0.0'/>", "write port='5901'"),
        ("", "<video><model><resolution x='many'/></model></video>", "'many' is no number"),
        ("", "<disk type='network'><target dev='vda'/></disk>", "type='network' is not there"),
        ("", "<disk type='file' device='floppy'/>", "device='floppy' is not there"),
        ("", "<disk type='file'><target dev='vda'/></disk>", "it has no image"),
        ("", "<disk type='file'><source file='/a'/></disk>", "it has no target"),
        ("", "<disk type='file'><target dev='a' bus='ide'/></disk>", "bus='ide' is not there"),
        ("", "<disk type='file'><wheel/></disk>", "disk/wheel: there is no such element"),
        ("", "<disk type='file'><encryption/></disk>", "neither encrypted"),
        ("", "<interface/>", "'type' is missing"),
        ("", "<interface type='user'><mac/></interface>", "'address' is missing"),
        ("", "<console type='stdio'/>", "type='stdio' is not there"),
        ("", "<console type='unix'><source path='/x'/></console>", "clients come to a console"),
        ("", "<filesystem type='mount'><source dir='/x'/></filesystem>", "no source or no target"),
        ("", "<filesystem><driver type='virtiofs'/></filesystem>", "shared by 9P"),
        ("", MANY_PORTS, "more than 100"),
        ("<memory unit='parsec'>1</memory>", "", "unit='parsec' is not there"),
        ("<memory>0</memory>", "", "a memory of 0 bytes"),
        ("<vcpu>0</vcpu>", "", "0 CPUs"),
        (
            "<os><type arch='riscv64'>hvm</type><nvram>/x</nvram><nvram/></os>",
            "",
            "flash that is not",
        ),
        ("<uuid>7</uuid>", "", "'7' is no UUID"),
        (
            "<os firmware='efi'><type arch='riscv64' machine='virt'>hvm</type></os>",
            "",
            "not chosen",
        ),
        ("<os><type arch='vax' machine='virt'>hvm</type></os>", "", "no machine 'vax virt'"),
        ("<os><type arch='riscv64' machine='pc'>hvm</type></os>", "", "no machine 'riscv64 pc'"),
        ("<os><type>xen</type></os>", "", "write hvm"),
        ("<name>a/b</name>", "", "cannot be called 'a/b'"),
        ("<name>..</name>", "", "cannot be called"),
        ("<name>12</name>", "", "numbers are ids"),
        (f"<name>{'x' * 10**6}</name>", "", "longer than 100 bytes"),
        ("<name>a<b/></name>", "", "only text is expected"),
    ],
)
def test_what_cannot_be(inside: str, devices: str, why: str) -> None:
    with pytest.raises(BimetalError, match=why) as caught:
        read_definition(changed(inside, devices))
    assert len(str(caught.value)) < 600


BOMB = """<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><domain><name>&c;</name></domain>"""
OUTSIDE = """<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (BOMB.encode("utf-16"), "not UTF-8"),
        ("<domain>&x;</domain>", "no XML"),
        ("", "no XML"),
        ("<domain", "no XML"),
        ("\0", "no XML"),
        ("<network/>", "root is 'network'"),
        ("<domain/>", "does not say its name"),
        ("<domain type='xen'/>", "type='xen' is not there"),
        ("<domain>" + " " * SIZE_LIMIT, "definition of"),
        ("<domain>" + "<a>" * 100_000, "no XML"),
        (b"<domain>\xff</domain>", "not UTF-8"),
        ("<?xml version='1.0' encoding='utf-16'?><domain/>", "does not say its name|no XML"),
    ],
)
def test_hostile_documents(text: str | bytes, why: str) -> None:
    with pytest.raises(BimetalError, match=why):
        read_definition(text)


FULL = Definition(
    name="full",
    uuid=ID,
    board="riscv-virt,ports=2",
    memory=96 * MIB,
    cpus=2,
    cpu_model="rv64,-zbb",
    kernel="/srv/Image",
    initrd="/srv/initrd",
    append="console=ttyS0 <&>'\"",
    dtb="/srv/x.dtb",
    serial="unix:/srv/console",
    balloon=True,
    reboot=False,
    disks=(
        DiskPart("/srv/a.qcow2", "vda", "qcow2", serial="S", backing=("/x/b.qcow2", "/y/c")),
        DiskPart("/dev/sdz", "vdb", readonly=True, snapshot=True),
        DiskPart("/srv/x.iso", "sda", bus="scsi", cdrom=True, readonly=True),
        DiskPart("", "sdb", bus="scsi", cdrom=True, readonly=True),
    ),
    nics=(NicPart("user,hostfwd=tcp::2222-:22"), NicPart("user", "52:54:00:00:00:01")),
    shares=(SharePart("/srv", "work", True, "none"),),
    ports=(PortPart("agent"), PortPart("other", "/srv/other")),
    title="Full & more",
)
FIRMWARE = replace(
    FULL,
    board="arm-virt",
    cpu_model="",
    kernel=None,
    initrd=None,
    append="",
    dtb=None,
    flash=("/srv/CODE", "/srv/VARS"),
    flash_template="/srv/T",
    serial="pty",
    accel="kvm",
    nics=(NicPart(),),
)
PLAIN = Definition("plain", ID, "microvm", 16 * MIB, bios="/srv/bios", serial="none", accel="jit")
WRITTEN = [
    FULL,
    FIRMWARE,
    PLAIN,
    replace(PLAIN, serial="tcp:127.0.0.1:7"),
    replace(PLAIN, serial="file:/srv/log"),
    replace(PLAIN, screen=ScreenPart("ramfb", 800, 600), inputs=("tablet", "keyboard")),
    replace(PLAIN, screen=ScreenPart(vnc="192.0.2.1::5907", password="secret")),
    replace(PLAIN, screen=ScreenPart(vnc="")),
    replace(PLAIN, screen=ScreenPart(vnc="unix:/srv/screen")),
]


@pytest.mark.parametrize("definition", WRITTEN, ids=lambda each: each.name)
def test_what_is_written_is_read_again(definition: Definition) -> None:
    assert read_definition(write_definition(definition)) == definition
    assert not read_definition(write_definition(definition)).notes


@pytest.mark.parametrize("definition", WRITTEN, ids=lambda each: each.name)
def test_json_says_the_same(definition: Definition) -> None:
    assert read_json(write_json(definition)) == definition


def test_the_least_that_is_a_definition_in_json() -> None:
    text = '{"name": "crab", "board": "riscv-virt", "memory": "64M", "nics": [{}]}'
    crab = read_json(text)
    assert (crab.memory, crab.nics, crab.accel) == (64 * MIB, (NicPart(),), "auto")
    assert read_json(text).uuid != crab.uuid


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no definition: Input data was truncated"),
        ("[]", "is no object"),
        ("{}", "missing required field `name`"),
        ('{"name": "a", "board": "riscv-virt", "memory": 1, "colour": 1}', "has no 'colour'"),
        ('{"name": "a", "board": "riscv-virt", "memory": 1, "notes": []}', "has no 'notes'"),
        ('{"name": "a", "board": "vax", "memory": 4096}', "no board 'vax'"),
        ('{"name": "a/b", "board": "riscv-virt", "memory": 1}', "cannot be called"),
        ('{"name": "a", "board": "riscv-virt", "memory": "much"}', "is not a size"),
        ('{"name": "a", "board": "riscv-virt", "memory": 1, "cpus": "2"}', "Expected `int`"),
        ('{"name": "a", "board": "riscv-virt", "memory": 1, "disks": {}}', "Expected `array`"),
        (
            '{"name": "a", "board": "riscv-virt", "memory": 1, "disks": [{"pth": "x"}]}',
            "one of its disks has no 'pth'.*did you mean path",
        ),
        (
            '{"name": "a", "board": "riscv-virt", "memory": 1, "screen": {"size": 1}}',
            "its screen has no 'size'",
        ),
        ("{" + " " * SIZE_LIMIT, "a definition has"),
        ('{"a":' * 100_000, "no definition"),
    ],
)
def test_json_that_is_no_definition(text: str, why: str) -> None:
    with pytest.raises(BimetalError, match=why):
        read_json(text)


@programs("virt-xml-validate")
@pytest.mark.parametrize("definition", WRITTEN, ids=lambda each: each.name)
def test_libvirts_schema_accepts_what_is_written(definition: Definition) -> None:
    """The schema comes with the program, which needs another one to validate anything."""
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    text = with_run(write_definition(definition), 3, "/dev/pts/5")
    assert schema.validate(etree.fromstring(text)), schema.error_log


def test_a_machine_that_runs_has_an_id_and_a_terminal() -> None:
    text = with_run(write_definition(FIRMWARE), 7, "/dev/pts/3")
    assert '<domain type="kvm" id="7">' in text
    assert '<console type="pty" tty="/dev/pts/3">' in text
    assert text.count('<source path="/dev/pts/3"/>') == 2
    assert read_definition(text) == FIRMWARE


ON_USB = """<devices>
  <controller type='usb' model='piix3-uhci'/>
  <disk type='file'><source file='/a'/><target dev='sda' bus='usb' removable='on'/></disk>
  <disk type='file' device='cdrom'><target dev='sdb' bus='usb'/></disk>
  <input type='keyboard' bus='usb'/><input type='mouse'/><input type='tablet' bus='virtio'/>
  <input type='keyboard' bus='ps2'/>
</devices>"""


BEHIND_A_HUB = """<devices>
  <hub type='usb'><address type='usb' bus='0' port='1'/></hub><hub type='usb'/>
  <disk type='file'><source file='/a'/><target dev='sda' bus='usb'/>
    <address type='usb' bus='0' port='1.8'/></disk>
  <input type='keyboard' bus='usb'><address type='usb' bus='0' port='1.2'/></input>
  <input type='tablet' bus='usb'><address type='usb' bus='0' port='2'/></input>
</devices>"""


def test_hubs_on_usb() -> None:
    made = read_definition(SMALL.replace("</domain>", f"{BEHIND_A_HUB}</domain>"))
    assert (made.usb, made.hubs, made.notes) == (True, ("1", ""), ())
    assert made.disks == (DiskPart("/a", "sda", bus="usb", port="1.8"),)
    assert made.inputs == ("keyboard,bus=usb,port=1.2", "tablet,bus=usb,port=2")
    again = write_definition(made)
    assert read_definition(again) == made
    if SCHEMA.exists():
        assert etree.RelaxNG(etree.parse(SCHEMA)).validate(etree.fromstring(again))
    wrong = SMALL.replace("</domain>", f"{BEHIND_A_HUB.replace('1.8', '1.16')}</domain>")
    with pytest.raises(BimetalError, match=r"'1\.16' is no place on USB"):
        read_definition(wrong)


def test_where_things_are_on_usb_does_not_matter_without_a_hub() -> None:
    """libvirt says it of all that is on USB, with the ports that its own controller has."""
    text = "<devices><input type='tablet' bus='usb'><address type='usb' bus='0' port='9'/></input>"
    made = read_definition(SMALL.replace("</domain>", f"{text}</devices></domain>"))
    assert made.inputs == ("tablet,bus=usb",)


def test_usb() -> None:
    made = read_definition(SMALL.replace("</domain>", f"{ON_USB}</domain>"))
    assert made.usb
    assert made.disks == (
        DiskPart("/a", "sda", bus="usb", removable=True),
        DiskPart("", "sdb", bus="usb", cdrom=True, readonly=True),
    )
    assert made.inputs == ("keyboard,bus=usb", "mouse,bus=usb", "tablet", "keyboard")
    assert [note.partition(": ")[2] for note in made.notes] == [
        "devices/controller: xHCI is in its place",
        "devices/input: input devices are virtio's, or on USB; a mouse is on USB",
    ]
    assert read_definition(write_definition(made)) == made
    assert not read_definition(SMALL).usb
    none = SMALL.replace(
        "</domain>", "<devices><controller type='usb' model='none'/></devices></domain>"
    )
    assert not read_definition(none).usb
