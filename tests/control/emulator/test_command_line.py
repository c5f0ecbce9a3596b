"""What an emulator's options mean, each by itself."""

from __future__ import annotations

import pytest

from bimetal.base.errors import BimetalError
from bimetal.control.emulator.lookups import AskedOnly
from bimetal.control.emulator.meaningless import MEANINGLESS
from bimetal.control.emulator.options import OPTIONS, read_command_line
from bimetal.control.emulator.order import MonitorAt, Order
from bimetal.control.emulator.targets import TARGETS, target_named


def order(line: str, target: str = "riscv64") -> Order:
    return read_command_line(TARGETS[target], line.split())


def refused(line: str, target: str = "riscv64") -> str:
    with pytest.raises(BimetalError) as error:
        order(line, target)
    assert error.value.remedy
    return error.value.cause


def test_the_line_with_which_libvirt_asks_what_there_is() -> None:
    asked = order(
        "-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg "
        "-qmp unix:/run/qmp,server=on,wait=off -pidfile /run/pid -daemonize"
    )
    assert (asked.nothing, asked.paused, asked.daemon) == (True, True, True)
    assert (asked.defaults, asked.graphic, asked.pid_file) == (False, False, "/run/pid")
    assert asked.monitors == [MonitorAt("unix:/run/qmp,server=on,wait=off")]


def test_names() -> None:
    named = order("-name guest=crab,debug-threads=on -uuid 806c0fca-88bc-4d99-957e-8111f192c168")
    assert (named.name, str(named.uuid)) == ("crab", "806c0fca-88bc-4d99-957e-8111f192c168")
    assert order("--name crab").name == "crab"


@pytest.mark.parametrize(
    ("line", "cpus"),
    [
        ("4", 4),
        ("cpus=2,maxcpus=2", 2),
        ("2,sockets=2,cores=1,threads=1", 2),
        ("sockets=2,cores=2", 4),
        ("4,cores=4", 4),
    ],
)
def test_processors(line: str, cpus: int) -> None:
    assert order(f"-smp {line}").machine["cpus"] == cpus


@pytest.mark.parametrize(
    ("line", "bytes_"),
    [("512", 512 << 20), ("1G", 1 << 30), ("size=2097152k", 2 << 30), ("size=768", 768 << 20)],
)
def test_memory(line: str, bytes_: int) -> None:
    assert order(f"-m {line}").machine["memory"] == bytes_


@pytest.mark.parametrize(
    ("line", "accel"),
    [
        ("-accel tcg", "jit"),
        ("-accel kvm", "kvm"),
        ("-enable-kvm", "kvm"),
        ("-machine virt,accel=kvm:tcg", "auto"),
        ("-accel tcg,thread=multi,tb-size=256", "jit"),
    ],
)
def test_accelerators(line: str, accel: str) -> None:
    assert order(line).machine["accel"] == accel


def test_kinds_of_machines_and_their_options() -> None:
    riscv = order("-M virt,usb=off,dump-guest-core=off,aia=aplic-imsic,memory-backend=ram0")
    assert riscv.kind is not None
    assert riscv.kind.board == "riscv-virt"
    assert riscv.board_options == {"aia": "aplic-imsic"}
    assert riscv.memory_backend == "ram0"
    arm = order("-machine virt-9.2,gic-version=3,virtualization=on,acpi=off", "aarch64")
    assert arm.board_options == {"gic": "3", "virtualization": "on", "acpi": "off"}


def test_processor_models() -> None:
    assert order("-cpu cortex-a72", "aarch64").machine["cpu_model"] == "cortex-a72"
    assert order("-cpu rv64,zbb=off").machine["cpu_model"] == "rv64,-zbb"
    changed = order("-cpu Nehalem,+aes,sse4.2=off,-pni,movbe=on", "x86_64").machine["cpu_model"]
    assert changed == "Nehalem,+aes,-sse4.2,-pni,+movbe"


def test_how_it_ends() -> None:
    assert order("-no-shutdown").stays
    assert order("-action shutdown=pause").stays
    assert order("-no-reboot").machine["reboot"] is False
    assert order("-action reboot=shutdown").machine["reboot"] is False


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-frobnicate", "the option -frobnicate is not there"),
        ("-m", "-m has no value"),
        ("-m lots", "is not right"),
        ("-m 512,slots=4", "memory cannot be plugged in"),
        ("-smp 2,maxcpus=4", "CPUs cannot be plugged in"),
        ("-smp 3,sockets=2", "2 places for 3 CPUs"),
        ("-cpu z80", "there is no model 'z80'"),
        ("-cpu rv64,frob=on", "'frob=on' is not there"),
        ("-M pc", "has no machine 'pc'"),
        ("-M virt,frob=on", "'frob' is not there"),
        ("-M virt,usb=frob", "usb=frob"),
        ("-usbdevice braille", "'braille' is not there"),
        ("-accel hvf", "there is no accelerator 'hvf'"),
        ("-uuid crab", "is no UUID"),
        ("-rtc base=localtime", "base=localtime is not there"),
        ("-boot order=n", "order=n is not there"),
        ("-sandbox on,obsolete=allow", "obsolete=allow is not there"),
        ("-sandbox on,spawn=perhaps", "spawn=perhaps is not there"),
        ("-sandbox on,frob=deny", "'frob' is not there"),
        ("-incoming ", "has no value"),
        ("-action panic=pause", "panic=pause is not there"),
        ("-overcommit mem-lock=on", "'mem-lock=on' is not there"),
        ("-audiodev alsa,id=a", "driver=alsa is not there"),
        ("-global virtio-blk-pci.serial=A", "properties of all virtio-blk-pci at once"),
        ("-monitor tcp:localhost:4444", "a monitor that dials others"),
        ("-qmp tcp:localhost:4444", "a monitor that dials others"),
        ("-chardev socket,path=/a", "there is no id"),
    ],
)
def test_what_is_not_there_is_named(line: str, why: str) -> None:
    assert why in refused(line)


@pytest.mark.parametrize(
    "line",
    [
        "-msg timestamp=on",
        "-overcommit mem-lock=off",
        "-no-user-config",
        "-global kvm-pit.lost_tick_policy=delay",
        "-global driver=cfi.pflash01,property=secure,value=on",
        "-audiodev none,id=audio1",
        '-audiodev {"id":"audio1","driver":"none"}',
        "-rtc base=utc,driftfix=slew",
        "-boot strict=on",
        "-sandbox off",
        "-monitor none",
    ],
)
def test_what_changes_nothing(line: str) -> None:
    assert order(line) == order("")


def test_what_changes_nothing_has_a_reason_and_no_other_meaning() -> None:
    assert all(each.why for each in MEANINGLESS.values())
    assert not MEANINGLESS.keys() & OPTIONS.keys()


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("-version", "QEMU emulator version"),
        ("--help", "-kernel VALUE"),
        ("-h", "-kernel VALUE"),
        ("-M help", "virt "),
        ("-M virt,help", "aia=<"),
        ("-cpu ?", "rv64"),
        ("-accel help", "  tcg"),
        ("-device help", 'name "virtio-blk-pci", bus PCI'),
        ("-device scsi-hd,help", "  drive=<str>"),
        ("-device ramfb,?", "ramfb options:"),
        ("-object help", "  rng-random"),
        ("-object memory-backend-ram,help", "  size=<size>"),
    ],
)
def test_questions(line: str, part: str) -> None:
    with pytest.raises(AskedOnly) as answer:
        order(line)
    assert part in str(answer.value)


def test_everything_that_is_listed_is_taken() -> None:
    with pytest.raises(AskedOnly) as answer:
        order("-device help", "aarch64")
    for name in str(answer.value).split('"')[1::2]:
        with pytest.raises(AskedOnly, match=f"^{name} options:"):
            order(f"-device {name},help", "aarch64")


def test_an_image_by_itself() -> None:
    assert order("-m 1G root.qcow2 -S").drives == order("-hda root.qcow2").drives
    assert [each.path for each in order("a.img b.img").drives] == ["a.img", "b.img"]


def test_emulators_that_are_not_there() -> None:
    assert target_named("/usr/bin/qemu-system-aarch64").isa == "aarch64"
    for name in ("qemu-system-ppc64", "qemu-system-z80", "crab"):
        with pytest.raises(BimetalError, match="there is no emulator"):
            target_named(name)
