"""What users may ask of a machine, and what they are told otherwise."""

import os
import platform
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.machine import Machine
from tests.machine.conftest import Script


@pytest.mark.parametrize(
    ("options", "cause", "code"),
    [
        ({"board": "toaster"}, "there is no board 'toaster'", 64),
        ({"kernel": None, "initrd": "x", "bios": "x"}, "an initrd without a kernel", 64),
        ({"cpus": 0}, "a machine cannot have 0 CPUs", 64),
        ({"cpus": 65}, "a machine cannot have 65 CPUs", 64),
        ({"memory": "much"}, "'much' is not a size", 64),
        ({"memory": "512K"}, "a memory of 512 KiB", 64),
        ({"memory": "1048577B"}, "a memory of 1048577 bytes", 64),
        ({"memory": 1048577}, "a memory of 1048577 bytes", 64),
        ({"memory": 0}, "a memory of 0 bytes", 64),
        ({"memory": 512}, "a memory of 512 bytes", 64),
        ({"memory": "536870912"}, "a memory of 512 TiB", 64),
        ({"append": "quiet\0"}, "a NUL", 64),
        ({"append": "half \ud83d"}, "half a character", 64),
        ({"kernel_format": "zip"}, "a kernel of the format 'zip'", 64),
        ({"kernel": "/missing/Image"}, "the kernel /missing/Image cannot be read: No such", 66),
        ({"initrd": "/missing/initrd"}, "the initrd /missing/initrd cannot be read: No such", 66),
        ({"dtb": "/missing/x.dtb"}, "the device tree /missing/x.dtb cannot be read: No such", 66),
        ({"dtb_overlays": ["/a.dtbo"]}, "the overlay /a.dtbo cannot be read: No such", 66),
        ({"bios": "/missing/fw.bin"}, "the bios /missing/fw.bin cannot be read: No such", 66),
        ({"serial": "telegraph"}, "'telegraph' is no place for a console", 64),
    ],
)
def test_what_a_machine_cannot_have(
    kernel: Path, options: dict[str, Any], cause: str, code: int
) -> None:
    with pytest.raises(BimetalError) as caught:
        Machine(**{"kernel": str(kernel), **options})
    assert cause in caught.value.cause
    assert caught.value.remedy
    assert caught.value.exit_code == code


def test_sockets_are_of_usb(kernel: Path) -> None:
    with Machine(kernel=kernel) as vm:
        with pytest.raises(BimetalError, match="keyboard is on the bus 'virtio', which has no"):
            vm.input("keyboard", socket=1)
        with pytest.raises(BimetalError, match="drive is on the bus 'scsi', which has no sockets"):
            vm.cdrom(socket=1)
        with pytest.raises(BimetalError, match="only disks on USB are removable, and in sockets"):
            vm.disk("a.img", socket=1)
        vm.input("keyboard", bus="usb", socket=1)


@pytest.mark.parametrize(
    ("memory", "size"),
    [("512", 512 << 20), (" 0x200 ", 512 << 20), ("1.5G", 3 << 29), (1 << 29, 1 << 29)],
)
def test_a_number_alone_is_mib_and_an_int_is_bytes(
    kernel: Path, memory: str | int, size: int
) -> None:
    with Machine(kernel=kernel, memory=memory) as vm:
        assert vm.config.memory == size


@pytest.mark.parametrize(
    ("memory", "remedy"),
    [
        (512, "did you mean '512M'?"),
        (524288, "did you mean '524288K'?"),
        ("536870912", "536870912 bytes are 512 MiB"),
    ],
)
def test_a_memory_in_the_wrong_unit_is_told_apart(
    kernel: Path, memory: str | int, remedy: str
) -> None:
    with pytest.raises(BimetalError) as caught:
        Machine(kernel=kernel, memory=memory)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("memory", ["100T", "900T", "0xffffffffffffffff"])
def test_more_memory_than_any_host_has(kernel: Path, memory: str) -> None:
    vm = Machine(kernel=kernel, kernel_format="raw", memory=memory, accel="interp")
    with vm, pytest.raises(BimetalError, match="the host has no") as caught:
        vm.start()
    assert caught.value.exit_code == ExitCode.USAGE
    assert "less memory" in caught.value.remedy


@pytest.mark.parametrize("options", [{}, {"bios": "none"}])
def test_a_machine_with_nothing_to_run_does_not_start(options: dict[str, Any]) -> None:
    with Machine(**options) as vm, pytest.raises(BimetalError, match="nothing to run") as caught:
        vm.start()
    assert caught.value.remedy
    assert caught.value.exit_code == 64


def test_an_accelerator_that_does_not_exist(kernel: Path) -> None:
    with pytest.raises(BimetalError, match=r"no accelerator 'abacus' \(choose from auto"):
        Machine(kernel=kernel, accel="abacus")


def test_a_processor_model_that_does_not_exist(kernel: Path) -> None:
    with pytest.raises(BimetalError, match="interp has no processor model 'm68k'") as caught:
        Machine(kernel=kernel, accel="interp", cpu_model="m68k")
    assert "rv64" in caught.value.remedy


@pytest.mark.parametrize(
    ("board", "accel", "model", "why"),
    [
        ("riscv-virt", "auto", "rv46", "did you mean rv64"),
        ("microvm", "jit", "max,+avx512f", "not described"),
        ("microvm", "jit", "x86-64-v4", "AVX-512"),
        ("microvm", "kvm", "max,-ssse4", "did you mean ssse3"),
        ("microvm", "kvm", "x86-64-v9", "no processor model 'x86-64-v9'"),
        ("microvm", "auto", "host,-sss3", "no processor feature 'sss3'"),
        ("arm-virt", "jit", "cortex-a67", "did you mean cortex-a76"),
    ],
)
def test_a_processor_that_cannot_be_is_refused_when_the_machine_is_made(
    monkeypatch: pytest.MonkeyPatch, board: str, accel: str, model: str, why: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(BimetalError) as caught:
        Machine(board, accel=accel, cpu_model=model)
    assert why in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("host", "accel", "model"),
    [
        ("x86_64", "auto", "host"),
        ("x86_64", "kvm", "max,-avx2"),
        ("aarch64", "kvm", "host"),
        ("aarch64", "auto", "host"),
        ("aarch64", "auto", "cortex-a57"),
        ("riscv64", "jit", "cortex-a57"),
    ],
)
def test_a_processor_that_there_may_be_is_left_to_the_start(
    monkeypatch: pytest.MonkeyPatch, host: str, accel: str, model: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: host)
    board = "microvm" if host == "x86_64" else "arm-virt"
    Machine(board, accel=accel, cpu_model=model).close()


def test_a_processor_model_for_an_accelerator_that_has_one(script: Script) -> None:
    with pytest.raises(BimetalError, match="has its processor model"):
        script([], cpu_model="rv64")


def test_the_models_of_kvm_are_for_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert Machine.cpu_models("microvm", "auto") == Machine.cpu_models("microvm", "kvm")
    assert Machine.cpu_models("microvm")[:3] == ("host", "x86-64-v1", "x86-64-v2")
    assert Machine.cpu_models("riscv-virt") == ("rv64",)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert Machine.cpu_models("riscv-virt") == ("host",)
    with pytest.raises(BimetalError, match="nothing here runs x86_64 guests"):
        Machine.cpu_models("microvm")


def test_too_little_memory_says_how_much_would_do(script: Script, kernel: Path) -> None:
    initrd = kernel.with_name("initrd")
    initrd.write_bytes(b"\1" * (60 << 20))
    vm = script([], initrd=str(initrd)).machine
    with pytest.raises(BimetalError) as caught:
        vm.start()
    assert "do not fit into 64 MiB of memory together" in caught.value.cause
    assert caught.value.remedy == "give at least 80 MiB"


def test_a_kernel_larger_than_memory(script: Script, kernel: Path) -> None:
    kernel.write_bytes(b"\1" * (65 << 20))
    with pytest.raises(BimetalError, match="do not fit into 64 MiB"):
        script([]).machine.start()


def test_a_damaged_kernel(script: Script, kernel: Path) -> None:
    kernel.write_bytes(b"\x7fELF and no more")
    with pytest.raises(BimetalError, match="damaged ELF"):
        script([], kernel_format="auto").machine.start()


def test_disks_that_cannot_be_used(script: Script, tmp_path: Path) -> None:
    for path, cause in ((tmp_path / "missing", "missing"), (tmp_path, str(tmp_path))):
        vm = script([]).machine
        vm.disk(str(path))
        with pytest.raises(BimetalError, match=cause):
            vm.start()


def test_too_many_disks(script: Script, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    vm = script([]).machine
    for _ in range(8):
        vm.disk(str(image), snapshot=True)
    with pytest.raises(BimetalError, match="8 disks do not fit"):
        vm.start()


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"serial": "x" * 21}, "is too long"),
        ({"serial": "\N{LATIN SMALL LETTER E WITH ACUTE}"}, "not of printable ASCII"),
        ({"serial": "\udcff"}, "not of printable ASCII"),
        ({"serial": "a\nb"}, "not of printable ASCII"),
        ({"format": "qed"}, "no image format 'qed'"),
        ({"format": ""}, "no image format ''"),
        ({"path": ""}, "the path of an image"),
    ],
)
def test_what_a_disk_cannot_be(script: Script, options: dict[str, Any], cause: str) -> None:
    vm = script([]).machine
    with pytest.raises(BimetalError, match=cause) as caught:
        vm.disk(**{"path": "disk.img", **options})
    assert caught.value.remedy
    assert caught.value.exit_code == ExitCode.USAGE
    assert vm.config.disks == []


def test_the_format_of_a_disk_may_be_said(script: Script, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"QFI\xfb\0\0\0\3".ljust(4096, b"\0"))
    for format, cause in ((None, "looks like qcow2"), ("qcow2", "no sound qcow2 image")):
        vm = script([]).machine
        vm.disk(image, format=format)
        with pytest.raises(BimetalError, match=cause):
            vm.start()
    vm = script([]).machine
    vm.disk(os.fsencode(image), format="raw")  # type: ignore[arg-type]  # as os takes it too
    assert "virtio" in vm.info_mtree()


def test_disks_come_before_the_machine_is_built(script: Script) -> None:
    vm = script([]).machine
    vm.info_mtree()
    with pytest.raises(BimetalError, match="already built"):
        vm.disk("disk.img")


@pytest.mark.parametrize("sizes", [(33 << 20,), (4096, 4096), (4096, 32 << 20, 4096)])
def test_flash_images_that_do_not_fit(
    script: Script, tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    images = []
    for number, size in enumerate(sizes):
        images.append(tmp_path / f"flash{number}")
        with images[-1].open("wb") as image:
            image.truncate(size)
    vm = script([], flash=[str(image) for image in images]).machine
    with pytest.raises(BimetalError, match=r"flash image"):
        vm.start()
