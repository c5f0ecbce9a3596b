"""A machine's screen, as a program uses it."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from bimetal.accel.script import ScriptAccelerator, ScriptCpu
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.devices.virtio.input import VirtioInput
from bimetal.machine.machine import Machine
from bimetal.machine.vnc import vnc_place
from bimetal.seam import Exit, Mmio
from tests.machine.conftest import LIMIT, Script

UART, RAM, TEST = 0x1000_0000, 0x8000_0000, 0x10_0000
PICTURE = RAM + 0x10_0000
SELECT_AND_WRITE = 8 | 16
BLUE, RED = b"\xff\0\0\0", b"\0\0\xff\0"


def wait(cpu: ScriptCpu) -> Exit:
    """A guest that never ends."""
    cpu.repeat()
    return Mmio(UART + 5, 1)


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


# Viewers


def test_viewers_see_the_screen_and_type(script: Script) -> None:
    vm = script([wait]).machine
    vm.video("ramfb")
    vm.input("keyboard")
    vm.input("tablet")
    place = vm.vnc("127.0.0.1::0").address
    assert isinstance(place, tuple)
    vm.start()
    show(vm, 64, 64)
    vm.memory.write(PICTURE, RED * 4096)
    with socket.create_connection(place, LIMIT) as client, client.makefile("rb") as heard:
        client.sendall(b"RFB 003.008\n\1\1")
        assert heard.read(12 + 2 + 4) == b"RFB 003.008\n\1\1" + bytes(4)
        width, height, length = struct.unpack(">HH16xI", heard.read(24))
        assert (width, height) == (64, 64)
        assert heard.read(length) == b"Bimetal: kernel"
        client.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, 64, 64))
        assert struct.unpack(">BxHHHHHi", heard.read(16)) == (0, 1, 0, 0, 64, 64, 0)
        assert heard.read(4 * 4096) == RED * 4096
        client.sendall(struct.pack(">BB2xI", 4, 1, ord("a")))
        client.sendall(struct.pack(">BBHH", 5, 1, 63, 0))
        keyboard, tablet = vm._parts.built().hardware.inputs.values()
        assert isinstance(keyboard, VirtioInput)
        assert isinstance(tablet, VirtioInput)
        assert keyboard._down == tablet._down == set(), "there is no driver"
        vm.close()
        with suppress(ConnectionResetError):  # what was said last may not have been read
            assert heard.read() == b""


def test_a_machine_without_a_screen_has_no_viewers(script: Script) -> None:
    with pytest.raises(BimetalError, match="no screen"):
        script([]).machine.vnc()


def test_a_place_that_is_taken(vm: Machine) -> None:
    place = vm.vnc("127.0.0.1::0").address
    assert isinstance(place, tuple)
    with pytest.raises(BimetalError, match="cannot listen at"):
        vm.vnc(f"127.0.0.1::{place[1]}")
    with pytest.raises(BimetalError, match="key without a certificate"):
        vm.vnc("127.0.0.1::0", tls_key="key.pem")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (":0", ("", 5900)),
        (":7", ("", 5907)),
        ("::5907", ("", 5907)),
        ("0.0.0.0:1", ("0.0.0.0", 5901)),
        ("host.example::1", ("host.example", 1)),
        ("[::1]:2", ("::1", 5902)),
        ("[::1]::2", ("::1", 2)),
        ("unix:/tmp/a:b", "/tmp/a:b"),
    ],
)
def test_places_of_viewers(text: str, place: object) -> None:
    assert vnc_place(text) == place


@pytest.mark.parametrize("text", ["", "1", "host", ":", ":x", ":-1", ":70000", "::70000", "unix:"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(BimetalError, match="no place for viewers"):
        vnc_place(text)


def test_without_the_libraries_for_viewers(vm: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.server", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(BimetalError, match=r"pip install 'bimetal\[screen\]'"):
        vm.vnc("127.0.0.1::0", password="secret")
    with pytest.raises(BimetalError, match=r"pip install 'bimetal\[screen\]'"):
        vm.vnc("127.0.0.1::0", web_socket="127.0.0.1::0")
    vm.vnc("127.0.0.1::0")


def test_keys_need_a_keyboard_and_a_driver(vm: Machine) -> None:
    with pytest.raises(BimetalError, match=r"no keyboard.*--input keyboard"):
        vm.send_keys("a")


def test_keys_need_a_driver(script: Script) -> None:
    vm = script([]).machine
    vm.input("keyboard")
    with pytest.raises(BimetalError, match="no key 'q1'"):
        vm.send_keys("q1")
    with pytest.raises(BimetalError, match="does not listen to its keyboard"):
        vm.send_keys("ctrl-alt-delete")
    with pytest.raises(BimetalError, match="already built"):
        vm.input("tablet")
