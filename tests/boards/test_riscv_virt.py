"""riscv-virt: its map, its device tree beside QEMU's, and how its harts begin."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.machine.machine import Machine
from tests.boards.still import Board, properties

RAM = 0x8000_0000


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "kernel").write_bytes(b"\x13\0\0\0" * 16)
    (tmp_path / "initrd").write_bytes(b"initrd" * 1000)
    (tmp_path / "bios").write_bytes(b"\x6f\0\0\0" * 16)
    (tmp_path / "flash").write_bytes(b"\x37" * 4096)
    return tmp_path


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Callable[..., Board]:
    def make(name: str = "riscv-virt", **options: Any) -> Board:
        made = Board(name, "a1", **options)
        request.addfinalizer(made.vm.close)
        return made

    return make


Make = Callable[..., Board]


def test_the_memory_map_is_that_of_qemu(board: Make, files: Path) -> None:
    lines = board(kernel=files / "kernel").vm.info_mtree().splitlines()
    starts = {line.split()[-1]: int(line.split("-")[0], 16) for line in lines}
    assert starts == {
        "rom": 0x1000,
        "test@100000": 0x10_0000,
        "rtc@101000": 0x10_1000,
        "vmgenid@102000": 0x10_2000,
        "clint@2000000": 0x200_0000,
        "plic@c000000": 0xC00_0000,
        "uart@10000000": 0x1000_0000,
        **{f"virtio_mmio@{at:x}": at for at in range(0x1000_1000, 0x1000_9000, 0x1000)},
        "fw_cfg@10100000": 0x1010_0000,
        "flash@20000000": 0x2000_0000,
        "flash@22000000": 0x2200_0000,
        "pcie@30000000": 0x3000_0000,
        "pcie@30000000.window0": 0x300_0000,
        "pcie@30000000.window1": 0x4000_0000,
        "pcie@30000000.window2": 0x4_0000_0000,
        "ram": RAM,
    }


@pytest.mark.parametrize(("memory", "at"), [("14G", 0x4_0000_0000), ("15G", 0x8_0000_0000)])
def test_the_high_window_of_pci_is_behind_the_memory(memory: str, at: int) -> None:
    with Machine("riscv-virt", memory=memory) as vm:
        assert f"{at:016x}-{at + 0x3_FFFF_FFFF:016x} window" in vm.info_mtree()


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("riscv-virt", "qemu-7.2-virt.dts"),
        ("riscv-virt,aia=none", "qemu-7.2-virt.dts"),
        ("riscv-virt,aia=aplic", "qemu-7.2-virt-aplic.dts"),
        ("riscv-virt,aia=aplic-imsic", "qemu-7.2-virt-aplic-imsic.dts"),
    ],
)
def test_the_device_tree_beside_that_of_qemu(
    board: Make, files: Path, name: str, peer: str
) -> None:
    """Whatever both trees describe, they describe alike, but for what is listed here."""
    ours = properties(board(name, kernel=files / "kernel", cpus=2, memory="256M").tree())
    theirs = properties((Path(__file__).parent / peer).read_text())
    differing = {
        ("/", "model"),
        ("chosen", "rng-seed"),
        *((f"cpus/cpu@{n}", "riscv,isa") for n in range(2)),
        *((f"soc/virtio_mmio@1000{n}000", "reg") for n in range(1, 9)),
    }
    compared = 0
    for path, node in theirs.items():
        if path not in ours:
            continue
        for name, value in node.items():
            if (path, name) not in differing:
                assert ours[path].get(name) == value, f"{path} {name}"
                compared += 1
    assert compared > 80
    missing = {path for path in theirs if path not in ours}
    assert missing == {
        *("pmu", "platform-bus@4000000"),
        *("fw-cfg@10100000", "flash@20000000"),  # ours are below /soc, each bank on its own
    }


@pytest.mark.parametrize("bios", [None, "bios"])
@pytest.mark.parametrize("aia", ["aplic", "aplic-imsic"])
def test_who_has_the_domain_of_the_mode_of_machines(
    board: Make, files: Path, bios: str | None, aia: str
) -> None:
    """Firmware, if there is some; else everything is delegated, and it is not for the kernel."""
    given = {} if bios is None else {"bios": files / bios}
    tree = properties(board(f"riscv-virt,aia={aia}", kernel=files / "kernel", **given).tree())
    node = tree["soc/aplic@c000000"]
    if aia == "aplic-imsic":
        assert tree["soc/imsics@24000000"].get("status") == node.get("status")
        assert "status" not in tree["soc/imsics@28000000"]
    assert node["riscv,children"] == "soc/aplic@d000000"
    for name in ("riscv,delegation", "riscv,delegate"):
        assert node[name] == "soc/aplic@d000000 0x01 0x60"
    assert node.get("status") == (None if bios else '"disabled"')


def test_the_tree_names_the_extensions(board: Make, files: Path) -> None:
    cpu = properties(board(kernel=files / "kernel").tree())["cpus/cpu@0"]
    assert cpu["riscv,isa-base"] == '"rv64i"'
    assert cpu["riscv,isa"].startswith('"rv64imafdc_zicbom_')
    named = cpu["riscv,isa-extensions"].strip('"').split("\\0")
    assert {"i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zba", "zbb", "sstc"} <= set(named)


def test_an_sbi_boot(board: Make, files: Path) -> None:
    made = board(kernel=files / "kernel", initrd=files / "initrd", append="console=ttyS0 é", cpus=3)
    assert [r["a0"] for r in made.registers] == [0, 1, 2]
    first = made.registers[0]
    assert (first["priv"], first["pc"]) == (1, RAM + 0x20_0000)
    assert first["a1"] == RAM + (512 << 20) - (2 << 20)
    assert made.vm.memory.read(first["pc"], 4) == b"\x13\0\0\0"
    chosen = properties(made.tree())["chosen"]
    assert chosen["stdout-path"] == '"/soc/serial@10000000"'
    start = int(chosen["linux,initrd-start"].split()[1].strip(">"), 16)
    end = int(chosen["linux,initrd-end"].split()[1].strip(">"), 16)
    assert end - start == 6000
    assert made.vm.memory.read(start, 6) == b"initrd"
    assert len(chosen["rng-seed"].split()) == 8


def test_an_initrd_moves_closer_where_memory_is_small(board: Make, files: Path) -> None:
    (files / "initrd").write_bytes(b"\1" * (20 << 20))
    made = board(kernel=files / "kernel", initrd=files / "initrd", memory="32M")
    assert "<0x00 0x80400000>" in made.tree()


def test_a_firmware_boot(board: Make, files: Path) -> None:
    made = board(kernel=files / "kernel", bios=str(files / "bios"), cpus=2)
    assert [(r["priv"], r["pc"]) for r in made.registers] == [(3, 0x1000)] * 2
    memory = made.vm.memory
    assert struct.unpack("<QQ", memory.read(0x1018, 16)) == (RAM, made.registers[0]["a1"])
    info = struct.unpack("<6Q", memory.read(0x1028, 48))
    assert info == (0x4942534F, 2, RAM + 0x20_0000, 1, 0, 0)
    assert memory.read(RAM, 4) == b"\x6f\0\0\0"


def test_firmware_without_a_kernel_goes_on_in_flash(board: Make, files: Path) -> None:
    made = board(bios=str(files / "bios"), flash=[str(files / "flash")])
    assert struct.unpack("<Q", made.vm.memory.read(0x1038, 8)) == (0x2000_0000,)
    assert made.vm.memory.read(0x2000_0000, 2) == b"\x37\x37"


def test_a_bare_kernel_runs_in_machine_mode_on_every_hart(board: Make, files: Path) -> None:
    made = board(kernel=files / "kernel", bios="none", cpus=2)
    assert [(r["priv"], r["pc"], r["a0"]) for r in made.registers] == [(3, RAM, 0), (3, RAM, 1)]


def test_firmware_in_flash_finds_the_kernel_by_fw_cfg(board: Make, files: Path) -> None:
    made = board(
        kernel=files / "kernel", initrd=files / "initrd", append="quiet", flash=[files / "flash"]
    )
    assert (made.registers[0]["priv"], made.registers[0]["pc"]) == (1, 0x2000_0000)
    items = made.vm["fw_cfg@10100000"].items
    assert items[0x08] == struct.pack("<I", 64)
    assert items[0x11] == b"\x13\0\0\0" * 16
    assert items[0x0B] == struct.pack("<I", 6000)
    assert items[0x15] == b"quiet\0"


def test_disks_take_the_first_slots(board: Make, files: Path) -> None:
    image = files / "disk.img"
    image.write_bytes(bytes(1 << 20))
    block, console, entropy, nothing = 2, 3, 4, 0
    for hvc, wanted in ((None, [block, entropy]), ("none", [block, console, entropy])):
        vm = Machine(
            kernel=files / "kernel", kernel_format="raw", accel=ScriptAccelerator(), hvc=hvc
        )
        with vm:
            vm.disk(image, snapshot=True, serial="first")
            ids = [vm[f"virtio_mmio@1000{n}000"].read(8, 4) for n in range(1, 9)]
        assert ids == wanted + [nothing] * (8 - len(wanted))
