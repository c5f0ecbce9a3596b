"""A machine's screen, as a program uses it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

from bimetal.accel.script import ScriptAccelerator
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards import Machine
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.seam import Mmio
from tests.machine.conftest import LIMIT, Script

FW_CFG, RAM, TEST = 0x1010_0000, 0x8000_0000, 0x10_0000
PICTURE = RAM + 0x10_0000
SELECT_AND_WRITE = 8 | 16
BLUE, RED = b"\xff\0\0\0", b"\0\0\xff\0"


def show(vm: Machine, width: int = 4, height: int = 2) -> None:
    """Do what firmware does to have its frame buffer on the screen."""
    fw_cfg = vm.device(FwCfg)
    number = fw_cfg._files["etc/ramfb"]
    fourcc = int.from_bytes(b"XR24", "little")
    vm.memory.write(RAM + 64, struct.pack(">QIIIII", PICTURE, fourcc, 0, width, height, 0))
    request = struct.pack(">IIQ", SELECT_AND_WRITE | number << 16, 28, RAM + 64)
    vm.memory.write(RAM, request)
    fw_cfg.write(0x10, 8, int.from_bytes(struct.pack(">Q", RAM), "little"))


@pytest.fixture
def vm(script: Script) -> Machine:
    machine = script([Mmio(TEST, 4, write=True, value=0x5555)]).machine
    machine.video("ramfb")
    return machine


def test_a_picture_of_the_screen(vm: Machine, tmp_path: Path) -> None:
    show(vm)
    vm.memory.write(PICTURE, BLUE * 4 + RED * 4)
    vm.screendump(tmp_path / "shown.png")
    with Image.open(tmp_path / "shown.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (4, 2))
        assert picture.tobytes() == b"\0\0\xff" * 4 + b"\xff\0\0" * 4


def test_a_reset_clears_the_screen(vm: Machine, tmp_path: Path) -> None:
    show(vm)
    vm.device(FwCfg).reset()
    with pytest.raises(BimetalError, match="shows nothing"):
        vm.screendump(tmp_path / "shown.png")


def test_a_snapshot_has_the_screen(vm: Machine, tmp_path: Path) -> None:
    vm.pause()
    vm.start()
    show(vm)
    vm.memory.write(PICTURE, RED * 8)
    vm.save(tmp_path / "saved")
    with Machine.restore(tmp_path / "saved", accel=ScriptAccelerator([])) as other:
        other.screendump(tmp_path / "shown.png")
    with Image.open(tmp_path / "shown.png") as picture:
        assert picture.tobytes() == b"\xff\0\0" * 8


def test_nothing_is_on_the_screen_at_first(vm: Machine, tmp_path: Path) -> None:
    with pytest.raises(BimetalError, match="shows nothing on its screen yet") as caught:
        vm.screendump(tmp_path / "shown.png")
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert not (tmp_path / "shown.png").exists()


def test_a_machine_without_a_screen(script: Script, tmp_path: Path) -> None:
    with pytest.raises(BimetalError, match=r"no screen.*--video"):
        script([]).machine.screendump(tmp_path / "shown.png")


def test_a_picture_that_cannot_be_written(vm: Machine, tmp_path: Path) -> None:
    show(vm)
    with pytest.raises(BimetalError, match=r"cannot be written to .*No such file") as caught:
        vm.screendump(tmp_path / "nowhere" / "shown.png")
    assert caught.value.exit_code == ExitCode.IO_ERROR


def test_without_the_library_for_pictures(
    vm: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(vm)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(BimetalError, match=r"pip install 'bimetal\[screen\]'"):
        vm.screendump(tmp_path / "shown.png")


def test_one_screen_of_a_known_kind(vm: Machine) -> None:
    with pytest.raises(BimetalError, match="one screen"):
        vm.video("ramfb")
    with pytest.raises(BimetalError, match=r"no display device 'ranfb'.*ramfb"):
        Machine("riscv-virt").video("ranfb")


def test_a_board_without_a_place_for_it() -> None:
    with Machine("microvm", kernel_format="raw") as vm:
        vm.video("ramfb")
        with pytest.raises(BimetalError, match="cannot have the display device ramfb"):
            vm.info_mtree()


def test_the_screen_is_there_before_the_start(vm: Machine) -> None:
    assert vm.device(FwCfg).items[Item.FILE_DIRECTORY].endswith(b"etc/ramfb".ljust(56, b"\0"))
    vm.start()
    assert vm.wait(LIMIT).code == 0
