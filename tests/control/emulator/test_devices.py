"""What machines are made of command lines, as libvirt and people write them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control.emulator.making import new_machine
from bimetal.control.emulator.options import read_command_line
from bimetal.control.emulator.targets import TARGETS
from bimetal.machine.config import Config
from bimetal.machine.wanted import CdDrive, Input, PciPlace, RootPortAt, UsbController
from tests.boot.bare import END, write_program
from tests.control.emulator.ordered import ordered

ON_SCSI = (
    "-drive file=a.img,if=none,id=d,format=raw -device virtio-scsi-pci,id=s "
    "-device scsi-hd,drive=d,bus=s.0"
)
NODE = (
    "-blockdev driver=qcow2,node-name=n,file.driver=file,file.filename=a.qcow2 "
    "-device virtio-blk-pci,drive=n"
)
NETDEV = (
    "-netdev user,id=n,hostfwd=tcp::0-:22 -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:08"
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images and a kernel in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    images.create("a.qcow2", "1M", format="qcow2")
    Path("a.img").write_bytes(bytes(1 << 20))
    write_program(Path("kernel"), *END)


def config(line: str, target: str = "riscv64") -> Config:
    with ordered(line, target) as monitor:
        return monitor.vm.machine.config


def refused(line: str, target: str = "riscv64") -> str:
    with pytest.raises(BimetalError) as error, ordered(line, target):
        pass
    assert error.value.remedy
    return error.value.cause


def test_what_runs() -> None:
    made = config("-kernel kernel -append 'a=b c' -smp 2 -M virt")
    assert (made.kernel, made.append, made.cpus, made.memory) == ("kernel", "a=b c", 2, 16 << 20)
    assert config("-kernel kernel -initrd a.img -bios none").initrd == "a.img"


@pytest.mark.parametrize(
    ("line", "path", "format", "bus"),
    [
        ("-drive file=a.qcow2,if=virtio,format=qcow2", "a.qcow2", "qcow2", "virtio"),
        ("-drive file=a.img,format=raw", "a.img", "raw", "virtio"),
        ("-hda a.qcow2", "a.qcow2", None, "virtio"),
        (
            "-drive file=a.img,if=none,id=d,format=raw -device virtio-blk-pci,drive=d",
            "a.img",
            "raw",
            "virtio",
        ),
        (
            "-drive file=a.img,if=none,id=d,format=raw -device virtio-blk-device,drive=d",
            "a.img",
            "raw",
            "virtio",
        ),
        (
            ON_SCSI,
            "a.img",
            "raw",
            "scsi",
        ),
        (
            NODE,
            "a.qcow2",
            "qcow2",
            "virtio",
        ),
    ],
)
def test_disks(line: str, path: str, format: str, bus: str) -> None:
    (disk,) = config(line).disks
    assert (disk.path, disk.format, disk.bus) == (path, format, bus)


def test_what_is_said_of_disks() -> None:
    made = config("-drive file=a.img,readonly=on,serial=A1,if=virtio -drive file=a.qcow2 -snapshot")
    assert [disk.readonly for disk in made.disks] == [True, False]
    assert [disk.snapshot for disk in made.disks] == [True, True]
    assert made.disks[0].serial == "A1"


@pytest.mark.parametrize(
    ("line", "writes", "reads"),
    [
        ("-drive file=a.img,format=raw", "enospc", "report"),
        ("-drive file=a.img,format=raw,werror=stop,rerror=ignore", "stop", "ignore"),
        (NODE, "enospc", "report"),
        (f"{NODE},werror=report,rerror=stop", "report", "stop"),
        (f"{NODE},werror=auto,rerror=auto", "enospc", "report"),
        (f"{ON_SCSI},werror=ignore", "ignore", "report"),
    ],
)
def test_what_is_done_about_errors(line: str, writes: str, reads: str) -> None:
    (disk,) = config(line).disks
    assert (disk.write_policy, disk.read_errors) == (writes, reads)


def test_cdroms() -> None:
    assert config("-cdrom a.img").cdroms == [CdDrive("a.img")]
    line = "-device virtio-scsi-pci,id=s -drive file=a.img,if=none,id=c,media=cdrom"
    assert config(f"{line} -device scsi-cd,drive=c,bus=s.0").cdroms == [CdDrive("a.img")]


def test_flash() -> None:
    drives = "-drive if=pflash,unit=0,file=a.img,format=raw -drive if=pflash,unit=1,file=kernel"
    assert config(drives).flash == ("a.img", "kernel")
    nodes = (
        '-blockdev {"driver":"file","filename":"a.img","node-name":"s0"} '
        '-blockdev {"node-name":"f0","driver":"raw","file":"s0","read-only":true} '
    )
    assert config(nodes.replace("{", "'{").replace("}", "}'") + "-M virt,pflash0=f0").flash == (
        "a.img",
    )


@pytest.mark.parametrize(
    ("line", "kind", "mac"),
    [
        ("-nic user", "user", None),
        ("-nic user,model=virtio-net-pci,mac=52:54:00:00:00:07", "user", "525400000007"),
        (
            NETDEV,
            "user",
            "525400000008",
        ),
        ("-net nic,model=virtio,macaddr=52:54:00:00:00:09 -net user", "user", "525400000009"),
        ("-netdev socket,id=n,listen=:0 -device virtio-net-device,netdev=n", "socket", None),
    ],
)
def test_networks(line: str, kind: str, mac: str | None) -> None:
    (nic,) = config(line).nics
    assert nic.kind == kind
    assert nic.mac == (None if mac is None else bytes.fromhex(mac))


def test_there_is_a_network_unless_nothing_is_to_be_there() -> None:
    assert not config("").nics
    assert not config("-nic none").nics


def test_other_devices() -> None:
    made = config(
        "-device virtio-balloon-pci -device virtio-keyboard-pci -device virtio-tablet-pci "
        "-device virtio-gpu-pci,xres=800,yres=600 "
        "-fsdev local,id=f,path=.,security_model=mapped-xattr "
        "-device virtio-9p-pci,fsdev=f,mount_tag=work"
    )
    assert made.balloon
    assert made.inputs == [Input("keyboard"), Input("tablet")]
    assert made.video is not None
    assert (made.video.width, made.video.height) == (800, 600)
    assert [(share.tag, share.security) for share in made.shares] == [("work", "mapped-xattr")]
    assert [share.tag for share in config("-virtfs local,path=.,mount_tag=w").shares] == ["w"]


def test_ports_for_programs() -> None:
    with ordered(
        "-device virtio-serial-pci,id=vs -chardev socket,id=c0,path=agent,server=on,wait=off "
        "-device virtserialport,bus=vs.0,nr=1,chardev=c0,id=channel0,name=org.qemu.guest_agent.0"
    ) as monitor:
        (port,) = monitor.vm.machine.config.ports
        assert (port.name, port.where) == ("org.qemu.guest_agent.0", "unix:agent")
        assert "c0" in [each["label"] for each in monitor.execute("query-chardev")]


def test_places_on_pci_are_those_that_are_said() -> None:
    made = config(
        "-device pcie-root-port,port=8,chassis=1,id=pci.1,bus=pcie.0,multifunction=on,addr=0x2 "
        "-device pcie-root-port,port=9,chassis=2,id=pci.2,bus=pcie.0,addr=0x2.0x1 "
        "-device virtio-balloon-pci,id=balloon0,bus=pci.2,addr=0x0 "
        "-object rng-random,id=r,filename=/dev/urandom "
        "-device virtio-rng-pci,rng=r,bus=pcie.0,addr=0x5"
    )
    assert made.root_ports == [RootPortAt(2), RootPortAt(2, 1)]
    assert made.places == {"balloon": PciPlace(port=2), "rng": PciPlace(slot=5)}
    assert made.options == {"bus": "pci"}


def test_disks_and_networks_behind_root_ports_can_be_unplugged() -> None:
    node = "-blockdev driver=raw,node-name=n,file.driver=file,file.filename=a.img "
    with ordered(
        "-kernel kernel -device pcie-root-port,id=p1,addr=2 -device pcie-root-port,id=p2,addr=3 "
        f"{node} -netdev user,id=net0 -device virtio-blk-pci,bus=p2,drive=n,id=disk "
        "-device virtio-net-pci,bus=p1,netdev=net0,id=nic"
    ) as monitor:
        machine = monitor.vm.machine
        assert not machine.config.disks
        (drive,) = machine.drives()
        assert (drive.name, drive.path.rpartition("/")[2]) == ("virtio_pci@port2", "a.img")
        assert monitor.vm.devices["disk"] == "virtio_pci@port2"
        assert monitor.vm.devices["nic"] == "virtio_pci@port1"
        (block,) = monitor.execute("query-block")
        assert block["qdev"] == "/machine/peripheral/disk/virtio-backend"
        listed = [each["name"] for each in monitor.execute("qom-list", path="/machine/peripheral")]
        assert sorted(listed) == ["disk", "nic", "p1", "p2"]


def test_usb_as_libvirt_writes_it() -> None:
    line = (
        "-device pcie-root-port,id=pci.1,addr=1 -device usb-tablet,id=input0,bus=usb.0,port=1 "
        "-device usb-kbd,id=input1,bus=usb.0,port=2 -device qemu-xhci,p2=15,p3=15,id=usb,bus=pci.1 "
        "-blockdev driver=file,filename=a.img,node-name=n "
        "-device usb-storage,bus=usb.0,port=4,drive=n,id=usb-disk0,removable=on"
    )
    with ordered(line) as monitor, monitor.vm.watched():
        made = monitor.vm.machine.config
        assert made.usb == UsbController(slow=15, fast=15)
        assert made.places["usb"] == PciPlace(port=1)
        assert made.inputs == [Input("tablet", "usb", 1), Input("keyboard", "usb", 2)]
        (disk,) = made.disks
        assert (disk.bus, disk.socket, disk.removable) == ("usb", 4, True)
        (block,) = monitor.execute("query-block")
        assert block["qdev"].startswith("/machine/peripheral/usb-disk0")
        monitor.execute("device_del", id="input0")
        monitor.execute("device_del", id="usb-disk0", force=True)
        assert monitor.execute("query-block") == []
        monitor.execute("device_add", driver="usb-mouse", id="m", bus="usb.0", port="1")
        monitor.execute("device_add", driver="usb-storage", id="s", drive="n", bus="usb.0")
        listed = {each["name"] for each in monitor.execute("qom-list", path="/machine/peripheral")}
        assert listed == {"pci.1", "usb", "input1", "m", "s"}
        for wrong in ({"bus": "pci.1"}, {"port": "16"}, {"port": "1"}):
            with pytest.raises(BimetalError):
                monitor.execute("device_add", driver="usb-tablet", id="w", **wrong)


def test_usb_hubs_and_what_is_behind_them() -> None:
    line = (
        "-device qemu-xhci,id=usb -device usb-tablet,id=t,bus=usb.0,port=1.2.3 "
        "-device usb-hub,id=inner,bus=usb.0,port=1.2 -device usb-hub,id=outer,bus=usb.0,port=1 "
        "-blockdev driver=file,filename=a.img,node-name=n"
    )
    with ordered(line) as monitor, monitor.vm.watched():
        gone: list[str] = []
        monitor.vm.on_event.add(lambda event: gone.append(event.data.device))  # type: ignore[union-attr]
        add = partial(monitor.execute, "device_add", bus="usb.0")
        add(driver="usb-mouse", id="m", port="1.8")
        add(driver="usb-storage", id="s", drive="n", port="1.2.8")
        for driver, port in (("usb-kbd", "1.8"), ("usb-kbd", "1.9"), ("usb-hub", "1.8.1")):
            with pytest.raises(BimetalError, match=f"no free USB socket {port}"):
                add(driver=driver, id="x", port=port)
        with pytest.raises(BimetalError, match="is no place on USB"):
            add(driver="usb-kbd", id="x", port="1.x")
        monitor.execute("device_del", id="inner")
        assert gone == ["t", "s", "inner"]
        add(driver="usb-hub", id="again", port="1.2")
        add(driver="usb-tablet", id="t", port="1.2.3")
        monitor.execute("device_del", id="outer")
        assert sorted(gone[3:]) == ["again", "m", "outer", "t"]
        assert gone[-1] == "outer"


def test_usb_in_old_words() -> None:
    made = config("-usb -usbdevice tablet -usbdevice mouse")
    assert made.usb == UsbController()
    assert [(each.kind, each.bus) for each in made.inputs] == [("tablet", "usb"), ("mouse", "usb")]
    assert config("-M virt,usb=on").usb == UsbController()
    assert config("-M virt,usb=off").usb is None
    drive = "-drive file=a.img,if=none,id=d,media=cdrom -device usb-storage,drive=d"
    assert config(drive).cdroms == [CdDrive("a.img", "usb")]


def test_tables_of_acpi_can_be_left_out() -> None:
    assert config("-no-acpi", "aarch64").options == {"acpi": "off", "bus": "pci"}
    assert config("-no-acpi").options == {"bus": "pci"}


def test_devices_in_slots_of_the_board() -> None:
    made = config("-drive file=a.img,if=none,id=d -device virtio-blk-device,drive=d")
    assert "bus" not in made.options


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-device frob", "there is no device 'frob'"),
        ("-device gpex-pcihost", "there is no device 'gpex-pcihost'"),
        ("-device usb-hub,port=1.x", "port=1.x"),
        ("-device usb-tablet,bus=frob.0", "there is no bus 'frob.0'"),
        ("-device usb-tablet -device virtio-tablet-pci", "a machine has one tablet"),
        ("-device usb-storage,drive=d", "there is no drive 'd'"),
        ("-device qemu-xhci,p2=16", "p2=16"),
        ("-device virtio-blk-pci", "there is no drive"),
        ("-device virtio-blk-pci,drive=d", "there is no drive 'd'"),
        ("-device virtio-net-pci,netdev=n", "there is no network 'n'"),
        ("-netdev bridge,id=n", "'bridge' is not there"),
        ("-netdev tap,id=n,fd=9999 -device virtio-net-pci,netdev=n", "fd=9999: Bad file"),
        ("-nic user,model=e1000", "model=e1000 is not there"),
        ("-device virtio-rng-pci,rng=r", "there is no source 'r'"),
        ("-device virtio-balloon-pci,frob=1", "'frob' is not there"),
        ("-device virtio-balloon-pci,bus=pci.7", "there is no bus 'pci.7'"),
        ("-device virtio-balloon-pci,addr=0x99", "the root bus has no place 0x99.0"),
        ("-device virtio-balloon-pci,addr=frob", "addr=frob is not right"),
        ("-device pcie-root-port,id=p", "there is no addr"),
        ("-device virtserialport,chardev=c,name=n", "there is no line 'c'"),
        ("-device virtio-gpu-pci,max_outputs=2", "max_outputs=2 is not there"),
        ("-object memory-backend-ram,id=m,size=1M -M virt,memory-backend=m", "is not the"),
        ("-object iothread,id=i", "there is no 'iothread'"),
        ("-drive file=a.img,if=floppy", "if=floppy is not there"),
        ("-drive if=virtio", "there is no file"),
        ("-drive file=a.img,werror=sigh", "werror=sigh is not there"),
        ("-drive file=a.img,rerror=enospc", "rerror=enospc is not there"),
        (f"{NODE},werror=sigh", "werror=sigh is not there"),
        ("-blockdev driver=nvme,node-name=n", "Invalid enum value"),
        ("-serial stdio -serial pty", "one serial port"),
        ("-serial telnet:localhost:1,server=on", "telnet"),
        ("-chardev ringbuf,id=c,size=100", "size=100"),
        ("-chardev ringbuf,id=c -mon c", "the ring buffer 'c'"),
        ("-chardev spicevmc,id=c -serial chardev:c", "'spicevmc' is not there"),
        ("-device virtio-balloon-pci -device virtio-rng-device", "in slots of the board"),
        ("-fsdev proxy,id=f,path=/", "'proxy' is not there"),
    ],
)
def test_what_is_not_there_is_named(line: str, why: str) -> None:
    assert why in refused(line)


def test_a_machine_in_a_window_is_not_there() -> None:
    with pytest.raises(BimetalError, match="there is no window"):
        new_machine(read_command_line(TARGETS["aarch64"], ["-m", "16M"]))
