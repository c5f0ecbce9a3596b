"""New machines in virt-install's words, and copies in virt-clone's."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pycdlib
import pytest

from bimetal import images
from bimetal.backends.fetching import fetch
from bimetal.base.errors import BimetalError
from bimetal.control import Definition, ScreenPart
from bimetal.control.cloning import Cloning, clone
from bimetal.control.domain_xml.reading import read_definition
from bimetal.control.installing import osinfo
from bimetal.control.installing.firmware import find_firmware
from bimetal.control.installing.media import architecture_of, kernel_in
from bimetal.control.installing.osinfo import find_system
from bimetal.control.installing.planning import Wanted, plan
from bimetal.control.installing.seed import make_seed, seed_from
from tests.control.homes import LIMIT, Homes, Install, Outcome

GIB = 1 << 30


def iso(path: Path, **files: bytes) -> Path:
    """An image with files: ``A__B`` is B in the folder A."""
    image = pycdlib.PyCdlib()
    image.new(joliet=3, interchange_level=3)
    folders = set[str]()
    for name, content in files.items():
        *above, last = name.split("__")
        for number in range(len(above)):
            folder = "/" + "/".join(above[: number + 1])
            if folder not in folders:
                image.add_directory(folder.upper(), joliet_path=folder)
                folders.add(folder)
        place = "/".join(["", *above, last.replace("_", ".")])
        image.add_fp(io.BytesIO(content), len(content), f"{place.upper()};1", joliet_path=place)
    image.write(str(path))
    image.close()
    return path


def definition_of(outcome: Outcome) -> Definition:
    assert outcome.code == 0, outcome.err
    return read_definition(outcome.out)


def test_the_command_line_that_people_are_told(
    homes: Homes, install: Install, tmp_path: Path
) -> None:
    media = iso(tmp_path / "x.iso", EFI__BOOT__bootriscv64_efi=b"MZ")
    words = (
        f"--name ubuntu-vm --ram 2048 --vcpus 2 --disk size=20 --cdrom {media} --os-type linux "
        "--os-variant ubuntu20.04"
    ).split()
    firmware = f"loader={homes.echo}"
    asked = definition_of(install(*words, "--print-xml", "--boot", firmware))
    assert (asked.memory, asked.cpus, asked.board) == (2 * GIB, 2, "riscv-virt")
    assert not (homes.folder / "d").exists()
    done = install(*words, "--noautoconsole", "--boot", firmware)
    assert done.code == 0, done.err
    assert "Domain is running: 'ubuntu-vm'" in done.out
    disk = homes.folder / "d/bimetal/images/ubuntu-vm.qcow2"
    assert images.information(str(disk), shared=True).size == 20 * GIB
    assert os.stat(disk).st_blocks * 512 < 1 << 20
    running = homes.machines.definition("ubuntu-vm")
    kept = homes.machines.definition("ubuntu-vm", inactive=True)
    assert [each.path for each in running.disks] == [str(disk), str(media)]
    assert [each.path for each in kept.disks] == [str(disk), ""]
    assert (running.reboot, kept.reboot) == (False, True)
    assert "already in use" in install(*words, "--boot", firmware).err
    assert homes.machines.find("ubuntu-vm").state == "running"


def test_it_is_started_again_from_its_disk(homes: Homes, install: Install, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "linux").write_bytes(homes.off.read_bytes())
    (tmp_path / "tree" / "initrd.gz").write_bytes(b"initrd")
    done = install(
        "--name", "crab", "--arch", "riscv64", "--memory", "64", "--disk", "size=0.01",
        "--location", str(tmp_path / "tree"), "--extra-args", "console=ttyS0 quiet",
        "--boot", f"loader={homes.echo}", "--virt-type", "qemu", "--wait", "--noautoconsole",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "Restarting guest." in done.out
    known = homes.machines.find("crab")
    assert known.state == "running"
    definition = homes.machines.definition("crab")
    assert (definition.kernel, definition.bios) == (None, str(homes.echo))


def test_an_image_that_is_there(homes: Homes, install: Install, tmp_path: Path) -> None:
    image = tmp_path / "cloud.qcow2"
    images.create(str(image), "64M", format="qcow2")
    done = install(
        "--name", "fly", "--arch", "riscv64", "--memory", "64", "--import", "--noautoconsole",
        "--disk", f"size=1,backing_store={image}", "--boot", f"kernel={homes.idle},cmdline=a b",
        "--cloud-init", "--network", "none", "--autostart",
    )  # fmt: skip
    assert done.code == 0, done.err
    password = re.search(r"Password for first root login is: (\S{12,})", done.err)
    definition = homes.machines.definition("fly")
    top, seed = definition.disks
    assert images.information(top.path, shared=True).backing == str(image)
    assert seed.path == str(homes.places.state("fly") / "install" / "seed.iso")
    assert stat.S_IMODE(os.stat(seed.path).st_mode) == 0o600
    assert password is not None
    read = pycdlib.PyCdlib()
    read.open(seed.path)
    assert read.pvd.volume_identifier.strip() == b"cidata"
    with read.open_file_from_iso(joliet_path="/user-data") as file:
        assert f"root:{password[1]}" in file.read().decode()
    read.close()
    assert homes.machines.definition("fly", inactive=True).disks[1].path == ""
    assert definition.append == "a b"
    assert homes.say("-q", "list", "--name", "--autostart") == "fly\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "--name is required"),
        ("--name x", "An install method must be specified"),
        ("--name x --import", "--import starts a disk"),
        ("--name x --import --disk size=x", "no number of GiB"),
        ("--name x --import --disk colour=red", "there is no 'colour'"),
        ("--name x --import --disk /missing/x.img", "there is no image"),
        ("--name x --cdrom /missing.iso --disk size=1", "there is no media"),
        ("--name x --import --disk size=1 --arch vax", "there is no machine vax"),
        ("--name x --import --disk size=1 --osinfo ubuntu99", "Unknown OS name 'ubuntu99'"),
        ("--name x --import --disk size=1 --tpm default", "No such option"),
        ("--name x --location nfs://example.org/ --disk size=1 --arch riscv64", "fetched from"),
        ("--name x --boot kernel=/x --disk none --graphics sdl", "type='sdl' is not there"),
        ("--name x --boot kernel=/x --disk none --graphics vnc,port=x", "is no number"),
        ("--name a/b --boot kernel=/x --disk none", "cannot be called"),
    ],
)
def test_what_is_not_there_is_refused_by_name(install: Install, words: str, why: str) -> None:
    outcome = install(*words.split(), "--noautoconsole")
    assert outcome.code != 0
    assert why in outcome.err


def test_nothing_stays_of_what_fails(homes: Homes, install: Install, tmp_path: Path) -> None:
    given = ("--name", "crab", "--arch", "riscv64", "--boot", f"kernel={homes.idle}")
    (tmp_path / "full").write_text("")
    outcome = install(
        *given, "--disk", "size=1", "--disk", f"size=1,path={tmp_path / 'full' / 'x.img'}"
    )
    assert outcome.code != 0
    assert not list((homes.folder / "d/bimetal/images").iterdir())
    assert list(homes.machines) == []


def test_media_say_for_which_processor_they_are(tmp_path: Path) -> None:
    assert architecture_of(str(iso(tmp_path / "a", EFI__BOOT__BOOTAA64_EFI=b"MZ"))) == "aarch64"
    both = iso(tmp_path / "b", EFI__BOOT__BOOTAA64_EFI=b"1", EFI__BOOT__BOOTX64_EFI=b"2")
    assert architecture_of(str(both)) == ""
    (tmp_path / "junk").write_bytes(b"CD001" * 9000)
    assert architecture_of(str(tmp_path / "junk")) == ""


def test_kernels_of_installers(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for place in ("install/gtk", "install"):
        (tree / place).mkdir(parents=True, exist_ok=True)
        (tree / place / "vmlinuz").write_text(place)
        (tree / place / "initrd.gz").write_text(place)
    kernel, initrd = kernel_in(str(tree), tmp_path, "riscv64")
    assert (kernel, initrd) == (f"{tree}/install/vmlinuz", f"{tree}/install/initrd.gz")
    (tree / ".treeinfo").write_text("[images-x]\nkernel = install/gtk/vmlinuz\n"
                                    "initrd = install/gtk/initrd.gz\n")  # fmt: skip
    assert kernel_in(str(tree), tmp_path, "riscv64")[0] == f"{tree}/install/gtk/vmlinuz"
    image = iso(tmp_path / "x.iso", casper__vmlinuz=b"kernel", casper__initrd=b"initrd")
    kernel, initrd = kernel_in(str(image), tmp_path / "out", "riscv64")
    assert (Path(kernel).read_bytes(), Path(initrd).read_bytes()) == (b"kernel", b"initrd")
    with pytest.raises(BimetalError, match="no kernel"):
        kernel_in(str(tmp_path / "out"), tmp_path, "riscv64")


def test_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(osinfo, "FOLDERS", (tmp_path,))
    assert find_system("ubuntu20.04").memory == 4 * GIB
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y.xml").write_text(
        "<libosinfo><os id='urn:y'><short-id>crab1</short-id><resources arch='all'>"
        "<minimum><ram>1000</ram></minimum><recommended><storage>5</storage></recommended>"
        "</resources></os></libosinfo>"
    )
    system = find_system("crab1")
    assert (system.id, system.memory, system.storage) == ("urn:y", 1000, 5)
    with pytest.raises(BimetalError, match="Unknown OS name 'crab2'"):
        find_system("crab2")


def test_firmware_that_distributions_describe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bimetal.control.installing.firmware.FOLDERS", (str(tmp_path), "/missing"))
    code, variables = tmp_path / "code", tmp_path / "variables"
    code.touch()
    variables.touch()
    (tmp_path / "10-secure.json").write_text("[" * 5000)
    (tmp_path / "20-plain.json").write_text(
        '{"interface-types": ["uefi"], "features": [], "targets": [{"architecture": "aarch64", '
        '"machines": ["virt-*"]}], "mapping": {"device": "flash", "executable": {"filename": '
        f'"{code}"}}, "nvram-template": {{"filename": "{variables}"}}}}}}'
    )
    assert find_firmware("aarch64", "virt") == (str(code), str(variables), "")
    assert find_firmware("riscv64", "virt") is None
    code.unlink()
    assert find_firmware("aarch64", "virt") is None


def test_what_is_asked_of_parts(homes: Homes, tmp_path: Path) -> None:
    wanted = Wanted(
        "crab", arch="riscv64", boot=f"kernel={homes.idle}", cpus="4,sockets=2", memory="2048",
        networks=("bridge=br0,mac=52:54:00:00:00:07,model=virtio", "network=default", "user"),
        serial=f"file,path={tmp_path / 'log'}", graphics="vnc,password=secret,keymap=de",
        disks=("size=1,bus=sata,readonly=on,serial=S",),
    )  # fmt: skip
    made = plan(wanted, tmp_path)
    definition = made.definition
    assert [nic.network for nic in definition.nics] == ["tap,bridge=br0", "user", "user"]
    assert definition.nics[0].mac == "52:54:00:00:00:07"
    assert definition.serial == f"file:{tmp_path / 'log'}"
    assert (definition.cpus, definition.memory) == (4, 2 * GIB)
    assert definition.screen == ScreenPart(vnc="auto", password="secret")
    assert "--graphics keymap" in made.notes
    disk = definition.disks[0]
    assert (disk.bus, disk.target, disk.readonly, disk.serial) == ("scsi", "sda", True, "S")
    assert "--vcpus sockets" in made.notes


def test_usb_is_asked_for(homes: Homes, tmp_path: Path) -> None:
    wanted = Wanted(
        "crab", arch="riscv64", boot=f"kernel={homes.idle}",
        inputs=("tablet,bus=usb", "keyboard", "mouse"),
        controllers=("usb,model=none", "usb,model=ich9-ehci1", "scsi"),
        disks=("size=1,bus=usb,removable=on",),
    )  # fmt: skip
    made = plan(wanted, tmp_path)
    assert made.definition.inputs == ("tablet,bus=usb", "keyboard", "mouse,bus=usb")
    assert made.definition.usb
    disk = made.definition.disks[0]
    assert (disk.bus, disk.target, disk.removable) == ("usb", "sda", True)
    assert "--controller scsi: controllers come with what is on them" in made.notes
    assert "--controller usb,model=ich9-ehci1: qemu-xhci is in its place" in made.notes


def test_a_seed_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("#cloud-config\n{}\n")
    (tmp_path / "password").write_text("secret\n")
    seed, made = seed_from(f"user-data={tmp_path / 'user'}", "Krabbe 1")
    assert (seed["user-data"], made) == ("#cloud-config\n{}\n", "")
    assert "local-hostname: Krabbe-1\n" in seed["meta-data"]
    seed, made = seed_from(f"root-password-file={tmp_path / 'password'}", "x")
    assert "root:secret" in seed["user-data"]
    make_seed(seed, tmp_path / "seed.iso")
    with pytest.raises(BimetalError, match="cannot be read"):
        seed_from("user-data=/missing", "x")


def test_a_copy(homes: Homes, tmp_path: Path) -> None:
    disk = tmp_path / "crab.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    devices = (
        f"<disk type='file'><driver type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
        "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"
    )
    original = homes.machines.define(homes.text("crab", devices=devices))
    assert homes.bimetal("clone", "-o", "crab", "--auto-clone").code == 0
    copy = homes.machines.definition("crab-clone")
    assert copy.uuid != original.uuid
    assert copy.nics[0].mac not in ("", "52:54:00:00:00:01")
    assert copy.disks[0].path == str(tmp_path / "crab-clone.qcow2")
    assert images.compare(str(disk), copy.disks[0].path).identical
    linked = homes.bimetal("clone", "-o", "crab", "-n", "fly", "--linked")
    assert linked.code == 0, linked.err
    top = homes.machines.definition("fly").disks[0].path
    assert images.information(top).backing == str(disk)
    assert "already in use" in homes.bimetal("clone", "-o", "crab", "-n", "fly").err
    assert "--name NAME" in homes.bimetal("clone", "-o", "crab").err
    shown = homes.bimetal("clone", "-o", "crab", "-n", "whale", "--print-xml")
    assert read_definition(shown.out).name == "whale"
    assert not (tmp_path / "whale.qcow2").exists()
    homes.machines.start("crab")
    with pytest.raises(BimetalError, match="its disks change"):
        clone(homes.machines, "crab", Cloning("again"))
    assert not (tmp_path / "again.qcow2").exists()


def test_a_copy_that_fails_leaves_nothing(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "crab1.qcow2", tmp_path / "crab2.qcow2"]
    images.create(str(paths[0]), "4M", format="qcow2")
    paths[1].write_bytes(b"no image")
    devices = "".join(
        f"<disk type='file'><driver type='qcow2'/><source file='{path}'/>"
        f"<target dev='vd{letter}'/></disk>"
        for path, letter in zip(paths, "ab", strict=True)
    )
    homes.machines.define(homes.text("crab", devices=devices))
    with pytest.raises(BimetalError):
        clone(homes.machines, "crab", Cloning("fly"))
    assert [each.name for each in homes.machines] == ["crab"]
    assert sorted(tmp_path.glob("fly*")) == []
    assert homes.machines.await_end("crab", LIMIT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the folder whose files it has."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", folder
        finally:
            running.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("isa", "place", "names"),
    [
        ("aarch64", "current/images/netboot/debian-installer/arm64", ("linux", "initrd.gz")),
        ("riscv64", "debian-installer/riscv64", ("linux", "initrd.gz")),
        ("aarch64", "images/pxeboot", ("vmlinuz", "initrd.img")),
        ("riscv64", "", ("linux", "initrd.gz")),
    ],
)
def test_a_tree_on_a_server(
    isa: str, place: str, names: tuple[str, str], server: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = server
    (folder / "tree" / place).mkdir(parents=True)
    for name in names:
        (folder / "tree" / place / name).write_bytes(name.encode() * 1000)
    found = kernel_in(f"{url}/tree/", tmp_path / "out", isa)
    assert [Path(path).read_bytes() for path in found] == [name.encode() * 1000 for name in names]
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"kernel", "initrd"}


def test_a_tree_on_a_server_that_describes_itself(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    (folder / "boot").mkdir()
    (folder / ".treeinfo").write_text("[images-x]\nkernel = boot/k\ninitrd = boot/i\n")
    (folder / "boot" / "k").write_bytes(b"the kernel")
    (folder / "boot" / "i").write_bytes(b"the initrd")
    kernel, initrd = kernel_in(url, tmp_path / "out", "riscv64")
    assert (Path(kernel).read_bytes(), Path(initrd).read_bytes()) == (b"the kernel", b"the initrd")


def test_servers_without_an_installer(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    with pytest.raises(BimetalError, match="there is no installer") as refused:
        kernel_in(url, tmp_path / "out", "riscv64")
    assert refused.value.remedy
    for wrong in ("http://127.0.0.1:1/", "http://[::1", "https://" + "x" * 300 + "/"):
        with pytest.raises(BimetalError, match="cannot be fetched"):
            kernel_in(wrong, tmp_path / "out", "riscv64")
    (folder / "large").write_bytes(bytes(100))
    with pytest.raises(BimetalError, match="more than 99 bytes"):
        fetch(f"{url}/large", str(tmp_path / "large"), 99)
    assert not (tmp_path / "large").exists()
    assert not (tmp_path / "large.part").exists()
