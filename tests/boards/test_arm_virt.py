"""arm-virt: its map, its device tree beside QEMU's, how its CPUs begin, and its wires."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bimetal import BimetalError, Machine
from bimetal.accel.script import ScriptAccelerator, ScriptCpu, Step, halt_until
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.firmware.flat_tree import read_tree
from bimetal.machine.result import Ending
from bimetal.seam import Exit, FirmwareCall, Mmio, Outputs, RegisterAccess
from tests.boards.still import Board, properties

RAM = 0x4000_0000
GICD, GICC, GPIO = 0x800_0000, 0x801_0000, 0x903_0000
IRQ = 0
CPU_ON, CPU_OFF, AFFINITY_INFO, SYSTEM_OFF, SYSTEM_RESET = (
    0xC400_0003, 0x8400_0002, 0xC400_0004, 0x8400_0008, 0x8400_0009,
)  # fmt: skip
LIMIT = 20


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "kernel").write_bytes(b"\x1f\x20\x03\xd5" * 16)
    (tmp_path / "initrd").write_bytes(b"initrd" * 1000)
    (tmp_path / "bios").write_bytes(b"\x05\0\0\x14" + b"firmware" * 100)
    return tmp_path


Make = Callable[..., Board]


@pytest.fixture
def board(request: pytest.FixtureRequest, files: Path) -> Make:
    def make(name: str = "arm-virt", **options: Any) -> Board:
        options = {"kernel": files / "kernel"} | options
        made = Board(name, "x0", **options)
        request.addfinalizer(made.vm.close)
        return made

    return make


def play(files: Path, *scripts: list[Step], name: str = "arm-virt", **options: Any) -> Machine:
    """A machine whose CPUs play scripts, run to its end."""
    accelerator = ScriptAccelerator(*scripts)
    vm = Machine(
        name,
        kernel=files / "kernel",
        kernel_format="raw",
        accel=accelerator,
        cpus=len(scripts),
        serial=NoChars(),
        clock=VirtualClock(),
        **options,
    )
    with vm:
        vm.start()
        vm.wait(LIMIT)
    return vm


def put(address: int, value: int, size: int = 4) -> Mmio:
    return Mmio(address, size, write=True, value=value)


def get(address: int, size: int = 4) -> Mmio:
    return Mmio(address, size)


def call(*args: int) -> FirmwareCall:
    return FirmwareCall((*args, *[0] * (8 - len(args))))


GICS = {
    "arm-virt": {
        "gicd@8000000": 0x800_0000,
        "gicc@8010000": 0x801_0000,
        "v2m@8020000": 0x802_0000,
    },
    "arm-virt,gic=3": {
        "gicd@8000000": 0x800_0000,
        "its@8080000": 0x808_0000,
        "gicr@80a0000": 0x80A_0000,
        "gicr_private@80b0000": 0x80B_0000,
    },
}


@pytest.mark.parametrize("name", GICS)
def test_the_memory_map_is_that_of_qemu_and_a_test_finisher(board: Make, name: str) -> None:
    lines = board(name).vm.info_mtree().splitlines()
    starts = {line.split()[-1]: int(line.split("-")[0], 16) for line in lines}
    assert starts == {
        "flash@0": 0,
        "flash@4000000": 0x400_0000,
        **GICS[name],
        "uart@9000000": 0x900_0000,
        "rtc@9010000": 0x901_0000,
        "fw_cfg@9020000": 0x902_0000,
        "gpio@9030000": 0x903_0000,
        "test@9100000": 0x910_0000,
        "vmgenid@9110000": 0x911_0000,
        **{f"virtio_mmio@{at:x}": at for at in range(0xA00_0000, 0xA00_4000, 0x200)},
        "pcie@4010000000": 0x40_1000_0000,
        "pcie@4010000000.window0": 0x3EFF_0000,
        "pcie@4010000000.window1": 0x1000_0000,
        "pcie@4010000000.window2": 0x80_0000_0000,
        "ram": RAM,
    }


def test_an_end_with_an_exit_code(files: Path) -> None:
    vm = play(files, [put(0x910_0000, 7 << 16 | 0x3333)])
    assert (vm.wait().ending, vm.wait().code) == (Ending.POWER_OFF, 7)


def test_the_test_finisher_is_told_of(board: Make) -> None:
    node = properties(board().tree())["test@9100000"]
    assert node["compatible"].startswith('"sifive,test1')
    assert node["reg"] == "<0x00 0x9100000 0x00 0x1000>"


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("arm-virt", "qemu-7.2-arm-virt.dts"),
        ("arm-virt,gic=2", "qemu-7.2-arm-virt.dts"),
        ("arm-virt,gic=3", "qemu-7.2-arm-virt-gicv3.dts"),
    ],
)
def test_the_device_tree_beside_that_of_qemu(board: Make, name: str, peer: str) -> None:
    """Whatever both trees describe, they describe alike, but for what is listed here."""
    ours = properties(board(name, cpus=2, memory="256M").tree())
    theirs = properties((Path(__file__).parent / peer).read_text())
    differing = {
        ("chosen", "rng-seed"),
        ("chosen", "kaslr-seed"),  # kernels move about, and isolate page tables, if there is one
        ("cpus/cpu@0", "compatible"),
        ("cpus/cpu@1", "compatible"),
    }
    compared = 0
    for path, node in theirs.items():
        if path not in ours:
            continue
        for name, value in node.items():
            if (path, name) not in differing:
                assert ours[path].get(name) == value, f"{path} {name}"
                compared += 1
    assert compared > 190
    missing = {path for path in theirs if path not in ours}
    assert missing == {"platform-bus@c000000"}


def test_a_kernel_begins_alone_with_the_tree(board: Make, files: Path) -> None:
    made = board(initrd=files / "initrd", append="console=ttyAMA0", cpus=3)
    first = made.registers[0]
    assert first["pc"] == RAM + 0x20_0000
    assert first["x0"] == RAM + (512 << 20) - (2 << 20)
    assert made.vm.memory.read(first["pc"], 4) == b"\x1f\x20\x03\xd5"
    chosen = properties(made.tree())["chosen"]
    assert chosen["stdout-path"] == '"/pl011@9000000"'
    start = int(chosen["linux,initrd-start"].split()[1].strip(">"), 16)
    assert made.vm.memory.read(start, 6) == b"initrd"
    waiting = [vcpu.parked for vcpu in made.vm._built().vcpus]
    assert waiting == [False, True, True]


def image(text_offset: int, size: int, code: bytes = b"\x1f\x20\x03\xd5" * 16) -> bytes:
    """A Linux image for AArch64."""
    header = struct.pack(
        "<IIQQQQQQ4sI", 0x1400_0010, 0, text_offset, size, 0xA, 0, 0, 0, b"ARM\x64", 0
    )
    return header + code


@pytest.mark.parametrize(
    ("header", "entry"),
    [((0, 0x10000), RAM), ((0x8_0000, 0x10000), RAM + 0x8_0000), ((0, 0), RAM + 0x8_0000)],
)
def test_where_a_linux_image_goes(
    board: Make, files: Path, header: tuple[int, int], entry: int
) -> None:
    (files / "kernel").write_bytes(image(*header))
    made = board(kernel_format="auto")
    assert made.registers[0]["pc"] == entry
    assert made.vm.memory.read(entry + 56, 4) == b"ARM\x64"


def test_firmware_begins_in_flash_and_finds_everything(board: Make, files: Path) -> None:
    made = board(bios=files / "bios", initrd=files / "initrd", append="quiet", kernel_format="auto")
    assert (made.registers[0]["pc"], made.registers[0]["x0"]) == (0, 0)
    memory = made.vm.memory
    assert memory.read(0, 4) == b"\x05\0\0\x14"
    assert memory.read(RAM, 4) == b"\xd0\x0d\xfe\xed", "the tree, at the start of RAM"
    items = made.vm["fw_cfg@9020000"].items
    assert items[0x11] == b"\x1f\x20\x03\xd5" * 16
    assert items[0x0B] == struct.pack("<I", 6000)
    assert items[0x15] == b"quiet\0"


def test_firmware_in_flash_images(board: Make, files: Path) -> None:
    code, variables = files / "code", files / "vars"
    code.write_bytes(b"\x05\0\0\x14")
    variables.write_bytes(b"\x77" * (64 << 20))
    made = board(kernel=None, flash=[code, variables])
    assert made.registers[0]["pc"] == 0
    assert made.vm.memory.read(0x400_0000, 2) == b"\x77\x77"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"accel": "jit", "cpu_model": "cortex-a53", "memory": "1024G"}, "40 bits of physical"),
        ({"accel": "interp", "cpu_model": "cortex-a57", "memory": "16384G"}, "44 bits of physical"),
        ({"accel": "jit", "cpu_model": "neoverse-n1", "memory": "262144G"}, "48 bits of physical"),
        ({"accel": "jit", "memory": "4194304G"}, "52 bits of physical"),
        ({"accel": "jit", "cpu_model": "cortex-a67"}, "'cortex-a67'.*did you mean cortex-a76"),
        ({"cpus": 9}, "1 to 8"),
        ({"name": "arm-virt,gic=3", "cpus": 124}, "1 to 123"),
        ({"bios": "bios", "flash": ["kernel"]}, "the same flash"),
        ({"bios": "elf"}, "ELF"),
        ({"bios": "huge"}, "64 MiB"),
    ],
)
def test_what_does_not_fit(files: Path, options: dict[str, Any], why: str) -> None:
    (files / "elf").write_bytes(b"\x7fELF" + bytes(100))
    with (files / "huge").open("wb") as file:
        file.truncate((64 << 20) + 1)
    for name in ("bios", "flash"):
        match options.get(name):
            case str(path):
                options[name] = files / path
            case [str(path)]:
                options[name] = [files / path]
    with (
        pytest.raises(BimetalError, match=why),
        Machine(
            options.pop("name", "arm-virt"),
            accel=options.pop("accel", None) or ScriptAccelerator(),
            kernel=files / "kernel",
            **options,
        ) as vm,
    ):
        vm.start()


def test_a_bare_kernel_runs_on_every_cpu(board: Make) -> None:
    made = board(bios="none", cpus=2)
    assert [registers["pc"] for registers in made.registers] == [RAM, RAM]
    assert "psci" not in properties(made.tree())


def test_where_the_hypervisors_mode_is_calls_are_by_smc(board: Make) -> None:
    tree = properties(board("arm-virt,virtualization=on").tree())
    assert tree["psci"]["method"] == '"smc"'
    assert len(tree["timer"]["interrupts"].split()) == 15


def test_disks_take_the_last_slots_and_are_told_first(board: Make, files: Path) -> None:
    image = files / "disk.img"
    image.write_bytes(bytes(1 << 20))
    with Machine(
        "arm-virt", kernel=files / "kernel", kernel_format="raw", accel=ScriptAccelerator()
    ) as vm:
        vm.disk(image, snapshot=True)
        ids = [vm[f"virtio_mmio@{at:x}"].read(8, 4) for at in range(0xA00_0000, 0xA00_4000, 0x200)]
        names = [each for each in nodes_in_order(vm) if each.startswith("virtio")]
    assert ids == [0] * 30 + [4, 2]
    assert names[0] == "virtio_mmio@a003e00"
    assert names == sorted(names, reverse=True)


def nodes_in_order(vm: Machine) -> list[str]:
    """The names of the nodes below the root of the device tree."""
    return [node.name for node in read_tree(vm.device_tree(), "tree").root.children]


def test_each_cpu_has_its_own_part_of_the_controller(files: Path) -> None:
    seen: list[int] = []

    def note(cpu: ScriptCpu) -> Exit | None:
        seen.append(int(str(cpu.answers[-1])))
        return None

    def other(cpu: ScriptCpu) -> Exit | None:
        assert cpu.registers["x0"] == 77
        return None

    play(
        files,
        [
            get(GICD + 0x800),
            note,
            call(CPU_ON, 1, RAM, 77),
            wait_for(seen, 2),
            call(SYSTEM_OFF),
        ],
        [other, get(GICD + 0x800), note],
    )
    assert seen == [0x0101_0101, 0x0202_0202]


def wait_for(seen: list[int], count: int) -> Step:
    """A step that passes the time until so much was noted."""

    def step(cpu: ScriptCpu) -> Exit | None:
        if len(seen) >= count:
            return None
        cpu.repeat()
        return get(GICD + 8)

    return step


def test_a_cpus_timer_interrupts_that_cpu(files: Path) -> None:
    vm = play(
        files,
        [
            put(GICD, 1),
            put(GICD + 0x100, 1 << 27),
            put(GICC, 1),
            put(GICC + 4, 0xFF),
            Outputs(0b10),
            halt_until(IRQ),
            get(GICC + 0xC),
            Outputs(0),
            put(GICC + 0x10, 27),
            lambda cpu: None if not cpu.lines[IRQ] else get(GICC + 0xC),
            call(SYSTEM_OFF),
        ],
    )
    assert vm.result is not None
    assert vm.result.code == 0


IAR1, EOIR1, PMR, IGRPEN1, SGI1R = (
    3 << 14 | crn << 7 | crm << 3 | op2
    for crn, crm, op2 in ((12, 12, 0), (12, 12, 1), (4, 6, 0), (12, 12, 7), (12, 11, 5))
)
GICR, PRIVATE = 0x80A_0000, 0x80B_0000


def set_register(number: int, value: int) -> RegisterAccess:
    return RegisterAccess(number, True, value)


def test_cpu_interfaces_of_a_gicv3_are_registers_of_the_cpus(files: Path) -> None:
    """A timer of CPU 0, and then an SGI for CPU 1, the 17th on the board."""
    start: list[Step] = [set_register(PMR, 0xFF), set_register(IGRPEN1, 1)]
    accelerator = ScriptAccelerator(
        [
            put(GICD, 2),
            put(PRIVATE + 0x80, 0xFFFF_FFFF),
            put(PRIVATE + 0x100, 1 << 27),
            *start,
            Outputs(0b10),
            halt_until(IRQ),
            RegisterAccess(IAR1),
            Outputs(0),
            set_register(EOIR1, 27),
            call(CPU_ON, 0x100, RAM, 77),
            halt_until(IRQ + 100),
        ],
        *[[] for _ in range(15)],
        [
            put(PRIVATE + 16 * 0x2_0000 + 0x80, 0xFFFF_FFFF),
            put(PRIVATE + 16 * 0x2_0000 + 0x100, 1 << 3),
            *start,
            set_register(SGI1R, 1 << 16 | 3 << 24 | 1),
            halt_until(IRQ),
            RegisterAccess(IAR1),
            get(GICR + 16 * 0x2_0000 + 8, 8),
            call(SYSTEM_OFF),
        ],
    )
    with Machine(
        "arm-virt,gic=3",
        kernel=files / "kernel",
        kernel_format="raw",
        accel=accelerator,
        cpus=17,
        clock=VirtualClock(),
        serial=NoChars(),
    ) as vm:
        vm.start()
        vm.wait(LIMIT)
    assert accelerator.cpus[0].answers[0] == 27
    assert accelerator.cpus[16].answers[:2] == [3, 0x100 << 32 | 1 << 24 | 16 << 8 | 1 << 4 | 1]


def test_a_reset_takes_the_outputs_of_cpus_back(files: Path) -> None:
    pending: list[object] = []

    def note(cpu: ScriptCpu) -> Exit | None:
        pending.append(cpu.answers[-1])
        return None

    look: list[Step] = [get(GICD + 0x200), note]
    play(files, [Outputs(0b10), *look, call(SYSTEM_RESET), *look, call(SYSTEM_OFF)])
    assert pending == [1 << 27, 0]


def test_the_power_button(files: Path) -> None:
    accelerator = ScriptAccelerator(
        [
            put(GICD, 1),
            put(GICD + 0x104, 1 << 7),
            put(GICD + 0x827, 1, 1),
            put(GICC, 1),
            put(GICC + 4, 0xFF),
            put(GPIO + 0x40C, 8),
            put(GPIO + 0x410, 8),
            halt_until(IRQ),
            get(GICC + 0xC),
            get(GPIO + 0x3FC),
            call(SYSTEM_OFF),
        ]
    )
    with Machine("arm-virt", kernel=files / "kernel", kernel_format="raw", accel=accelerator) as vm:
        vm.start()
        while vm["gpio@9030000"].IE != 8:
            pass
        vm.press_power_button()
        vm.wait(LIMIT)
    assert accelerator.cpus[0].answers[:2] == [39, 8]


def test_a_board_without_a_power_button_says_so() -> None:
    with (
        Machine("riscv-virt", accel=ScriptAccelerator()) as vm,
        pytest.raises(BimetalError, match="no power button"),
    ):
        vm.press_power_button()


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("arm-virt,gics=2", "no option 'gics'"),
        ("arm-virt,virtualization=maybe", "cannot be 'maybe'"),
        ("arm-virt,virtualization", "no option of a board"),
        ("arm-virt,virtualization=on,virtualization=on", "twice"),
        ("riscv-virt,virtualization=on", "no option 'virtualization'"),
    ],
)
def test_options_that_a_board_does_not_have(name: str, cause: str) -> None:
    with pytest.raises(BimetalError, match=cause) as caught:
        Machine(name)
    assert caught.value.remedy
