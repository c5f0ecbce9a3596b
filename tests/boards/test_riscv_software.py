"""What is loaded into a RISC-V board, and where: programs, ramdisks, device trees and overlays."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.base.errors import BimetalError
from bimetal.firmware.devicetree import Node, text_of, words_of
from bimetal.firmware.flat_tree import flatten, read_tree
from bimetal.machine.machine import Machine
from tests.firmware.elves import RAM, Part, elf
from tests.firmware.images import image, uimage
from tests.firmware.trees import compiled

MIB = 1 << 20
SEED = "rng-seed"


def machine(folder: Path, kernel: bytes = image(), **options: Any) -> Machine:
    (folder / "kernel").write_bytes(kernel)
    options = {"kernel": folder / "kernel", "memory": "64M", **options}
    return Machine(accel=ScriptAccelerator(), **options)


def loaded_tree(vm: Machine) -> Node:
    """The tree that the guest finds."""
    vm.start()
    at = vm.cpus[0].a1
    size = int.from_bytes(vm.memory.read(at + 4, 4), "big")
    return read_tree(vm.memory.read(at, size), "the tree").root


def properties(root: Node) -> dict[str, dict[str, object]]:
    return {node.path: dict(node.properties) for node in root.walk()}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# Trees


def test_the_tree_can_be_had_without_a_run(tmp_path: Path) -> None:
    with machine(tmp_path, append="quiet", cpus=2) as vm:
        told = properties(read_tree(vm.device_tree(), "the tree").root)
        assert vm.device_tree() == vm.device_tree()
        found = properties(loaded_tree(vm))
    assert len(words_of(found["/chosen"].pop(SEED))) == 8  # type: ignore[arg-type]
    assert told == found
    assert text_of(told["/chosen"]["bootargs"]) == "quiet"  # type: ignore[arg-type]


def test_the_tree_of_a_machine_with_nothing_to_run() -> None:
    with Machine(memory="96M", cpus=3) as vm:
        root = read_tree(vm.device_tree(), "the tree").root
    assert words_of(root.find("/memory")["reg"]) == (0, RAM, 0, 96 * MIB)  # type: ignore[index]
    assert root.find("/cpus/cpu@2") is not None


def test_the_machines_own_tree_given_back_to_it_is_the_same(tmp_path: Path) -> None:
    with machine(tmp_path, append="quiet") as vm:
        blob = vm.device_tree()
    with machine(tmp_path, dtb=written(tmp_path / "own.dtb", blob)) as vm:
        assert vm.device_tree() == blob


def test_a_tree_of_ones_own_is_told_of_this_machine(tmp_path: Path) -> None:
    source = """/dts-v1/;
    / {
        #address-cells = <2>; #size-cells = <2>; model = "mine";
        memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x1000>; };
        memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0 0x1000>; };
        chosen { bootargs = "old"; linux,initrd-start = <0 1>; linux,initrd-end = <0 2>; };
    };"""
    dtb = written(tmp_path / "mine.dtb", compiled(source))
    initrd = written(tmp_path / "initrd", b"\1" * 5000)
    with machine(tmp_path, dtb=dtb) as vm:
        root = loaded_tree(vm)
    assert text_of(root["model"]) == "mine"
    memories = [node for node in root.children if node.name.startswith("memory")]
    assert [words_of(node["reg"]) for node in memories] == [(0, RAM, 0, 64 * MIB)]
    assert [node.name for node in memories] == ["memory@80000000"]
    chosen = root.find("/chosen")
    assert chosen is not None
    assert set(chosen.properties) == {"bootargs", SEED}
    assert text_of(chosen["bootargs"]) == "old"
    with machine(tmp_path, dtb=dtb, initrd=initrd, append="new") as vm:
        chosen = loaded_tree(vm).find("/chosen")
        assert chosen is not None
        start, end = (words_of(chosen[f"linux,initrd-{name}"])[1] for name in ("start", "end"))
        assert vm.memory.read(start, end - start) == b"\1" * 5000
    assert text_of(chosen["bootargs"]) == "new"


def test_a_node_where_memory_is_to_be_told_of_becomes_that(tmp_path: Path) -> None:
    source = """/dts-v1/;
    / {
        #address-cells = <2>; #size-cells = <2>;
        memory@80000000 { device_type = "none"; reg = <0 0x80000000 0 0x1000>; };
    };"""
    with machine(tmp_path, dtb=written(tmp_path / "mine.dtb", compiled(source))) as vm:
        memory = loaded_tree(vm).find("/memory@80000000")
    assert memory is not None
    assert text_of(memory["device_type"]) == "memory"
    assert words_of(memory["reg"]) == (0, RAM, 0, 64 * MIB)


def test_a_command_line_of_any_bytes_comes_as_it_was_given(tmp_path: Path) -> None:
    with machine(tmp_path, append=os.fsdecode("é".encode() + b"\xe9\xff")) as vm:
        chosen = loaded_tree(vm).find("/chosen")
    assert chosen is not None
    assert chosen["bootargs"] == "é".encode() + b"\xe9\xff\0"


def test_a_tree_whose_addresses_have_one_cell(tmp_path: Path) -> None:
    source = "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; };"
    dtb = written(tmp_path / "mine.dtb", compiled(source))
    with machine(tmp_path, dtb=dtb) as vm:
        memory = read_tree(vm.device_tree(), "the tree").root.find("/memory")
    assert memory is not None
    assert words_of(memory["reg"]) == (RAM, 64 * MIB)
    with (
        machine(tmp_path, dtb=dtb, memory="4G") as vm,
        pytest.raises(BimetalError, match="its #size-cells is 1") as caught,
    ):
        vm.device_tree()
    assert "#size-cells of 2" in caught.value.remedy


def test_overlays_change_the_boards_tree_or_ones_own(tmp_path: Path) -> None:
    first = written(
        tmp_path / "a.dtbo",
        compiled('/dts-v1/; /plugin/; &{/soc} { led@1 { compatible = "acme,led"; }; };'),
    )
    second = written(
        tmp_path / "b.dtbo",
        compiled('/dts-v1/; /plugin/; &{/soc/led@1} { status = "disabled"; };'),
    )
    with machine(tmp_path, dtb_overlays=[first, second]) as vm:
        led = loaded_tree(vm).find("/soc/led@1")
    assert led is not None
    assert (led["compatible"], led["status"]) == (b"acme,led\0", b"disabled\0")
    with (
        machine(tmp_path, dtb_overlays=[second]) as vm,
        pytest.raises(BimetalError, match=r"b\.dtbo changes /soc/led@1, which the tree does not"),
    ):
        vm.start()


def test_an_overlay_may_tell_less_memory(tmp_path: Path) -> None:
    source = "/dts-v1/; /plugin/; &{/memory@80000000} { reg = <0 0x80000000 0 0x1000000>; };"
    overlay = written(tmp_path / "a.dtbo", compiled(source))
    with machine(tmp_path, dtb_overlays=[overlay]) as vm:
        memory = loaded_tree(vm).find("/memory")
    assert memory is not None
    assert words_of(memory["reg"]) == (0, RAM, 0, 16 * MIB)


BAD_TREES = [
    ({"dtb": b"/dts-v1/; / { };"}, "the device tree .*x is no device tree"),
    ({"dtb": flatten(Node("", {"a": b"bytes"}))[:-3]}, "the device tree .*x is damaged"),
    ({"dtb_overlays": flatten(Node(""))}, "the overlay .*x is no overlay"),
    ({"dtb": flatten(Node("", {"big": bytes(3 << 20)}))}, "the device tree has 314"),
]


@pytest.mark.parametrize(("options", "cause"), BAD_TREES, ids=range(len(BAD_TREES)))
def test_trees_that_cannot_be_used(tmp_path: Path, options: dict[str, bytes], cause: str) -> None:
    ((name, data),) = options.items()
    path = written(tmp_path / "x", data)
    given: dict[str, Any] = {name: path if name == "dtb" else [path]}
    with machine(tmp_path, **given) as vm, pytest.raises(BimetalError, match=cause) as caught:
        vm.start()
    assert caught.value.remedy


def test_two_machines_share_no_reservations(tmp_path: Path) -> None:
    kept = compiled("/dts-v1/; /memreserve/ 0x80000000 0x1000; / { };")
    with machine(tmp_path, dtb=written(tmp_path / "mine.dtb", kept)) as vm:
        assert read_tree(vm.device_tree(), "the tree").reservations == [(RAM, 0x1000)]
    with machine(tmp_path) as vm:
        assert read_tree(vm.device_tree(), "the tree").reservations == []


def test_a_board_without_device_trees(tmp_path: Path) -> None:
    kernel = written(tmp_path / "kernel", b"")
    kernel.write_bytes(b"x")
    for options in ({}, {"dtb": str(kernel)}, {"dtb_overlays": [str(kernel)]}):
        with (
            Machine("microvm", kernel=kernel, accel=ScriptAccelerator(), **options) as vm,
            pytest.raises(BimetalError, match="has no device tree"),
        ):
            vm.device_tree()


# What is packed with a kernel


def test_a_ramdisk_in_the_kernels_file(tmp_path: Path) -> None:
    packed = uimage(image(), b"ramdisk!", kind=4)
    with machine(tmp_path, packed) as vm:
        chosen = loaded_tree(vm).find("/chosen")
        assert chosen is not None
        start, end = (words_of(chosen[f"linux,initrd-{name}"])[1] for name in ("start", "end"))
        assert vm.memory.read(start, end - start) == b"ramdisk!"
    given = written(tmp_path / "initrd", b"given")
    with machine(tmp_path, packed, initrd=given) as vm:
        chosen = loaded_tree(vm).find("/chosen")
        assert chosen is not None
        start = words_of(chosen["linux,initrd-start"])[1]
        assert vm.memory.read(start, 5) == b"given"


def test_a_device_tree_in_the_kernels_file(tmp_path: Path) -> None:
    tree = compiled('/dts-v1/; / { model = "packed"; };')
    packed = uimage(image(), b"ramdisk!", tree, kind=4)
    with machine(tmp_path, packed) as vm:
        assert text_of(loaded_tree(vm)["model"]) == "packed"
    dtb = written(tmp_path / "given.dtb", compiled('/dts-v1/; / { model = "given"; };'))
    with machine(tmp_path, packed, dtb=dtb) as vm:
        assert text_of(loaded_tree(vm)["model"]) == "given"


def test_an_initrd_with_u_boots_header(tmp_path: Path) -> None:
    initrd = written(tmp_path / "initrd", uimage(b"ramdisk", kind=3, architecture=2))
    with machine(tmp_path, initrd=initrd) as vm:
        chosen = loaded_tree(vm).find("/chosen")
        assert chosen is not None
        start, end = (words_of(chosen[f"linux,initrd-{name}"])[1] for name in ("start", "end"))
        assert vm.memory.read(start, end - start) == b"ramdisk"
    initrd.write_bytes(uimage(b"kernel"))
    with (
        machine(tmp_path, initrd=initrd) as vm,
        pytest.raises(BimetalError, match=r"the initrd .* another kind \(kernel\)"),
    ):
        vm.start()


# Places


def test_a_kernel_linked_at_the_start_of_memory(tmp_path: Path) -> None:
    headers = b"\x7fELF".ljust(0x1000, b"\0")
    kernel = elf(Part(RAM - 0x1000, headers + b"\x13\0\0\0" * 4, flags=5))
    with machine(tmp_path, kernel, bios="none") as vm:
        vm.start()
        assert vm.cpus[0].pc == RAM
        assert vm.memory.read(RAM, 8) == b"\x13\0\0\0" * 2


def test_position_independent_firmware_and_its_kernel(tmp_path: Path) -> None:
    bios = written(tmp_path / "fw.elf", elf(Part(0), entry=0, kind=3))
    with machine(tmp_path, bios=bios) as vm:
        vm.start()
        assert struct.unpack("<Q", vm.memory.read(0x1018, 8)) == (RAM,)
        assert vm.memory.read(RAM, 4) == b"\x13\0\0\0"


OVER = [
    (elf(Part(RAM)), {"bios": True}, "over each other at 0x80000000", "-Wl,-Ttext=0x80200000"),
    (elf(Part(RAM, size=63 * MIB)), {}, "do not fit into 64 MiB", "give at least 80 MiB"),
    (
        elf(Part(RAM), Part(0x1000, flags=5)),
        {"bios": True},
        "lie over each other at 0x1000",
        "different",
    ),
    (elf(Part(RAM, size=100 * MIB)), {}, "needs 100 MiB of memory", "give it at least 100 MiB"),
]


@pytest.mark.parametrize(("kernel", "options", "cause", "remedy"), OVER, ids=range(len(OVER)))
def test_programs_in_one_place(
    tmp_path: Path, kernel: bytes, options: dict[str, Any], cause: str, remedy: str
) -> None:
    if "bios" in options:
        parts = [Part(RAM)] if "0x80000000" in cause else [Part(RAM + 0x1000)]
        bios = elf(*parts, entry=parts[0].virtual)
        options = {"bios": written(tmp_path / "bios", bios)}
    with machine(tmp_path, kernel, **options) as vm, pytest.raises(BimetalError) as caught:
        vm.start()
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("size", [40, 61, 62, 63])
def test_what_is_said_to_be_enough_memory_is(tmp_path: Path, size: int) -> None:
    kernel = elf(Part(RAM, size=size * MIB))
    initrd = written(tmp_path / "initrd", b"\1" * (30 * MIB))
    with machine(tmp_path, kernel, initrd=initrd) as vm, pytest.raises(BimetalError) as caught:
        vm.start()
    enough = caught.value.remedy.removeprefix("give at least ").removesuffix(" MiB")
    with machine(tmp_path, kernel, initrd=initrd, memory=f"{enough}M") as vm:
        vm.start()
