"""Files that cannot be loaded are told of before an engine is made, which may take a minute."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from bimetal.base.errors import BimetalError
from bimetal.boards import Machine
from bimetal.machine.assembly import Engine
from tests.machine.conftest import Script

RAW: dict[str, Any] = {"kernel": "raw.bin", "kernel_format": "raw"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with bad files, and ``raw.bin``, which is a kernel if it is called one.
    There is no engine to be had."""

    def make(*_: object) -> None:
        raise AssertionError("an engine is made")

    monkeypatch.setattr(Engine, "make", make)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("Boot this.\n")
    (tmp_path / "raw.bin").write_bytes(bytes(64))
    packed = gzip.compress(os.urandom(5000))
    (tmp_path / "cut.gz").write_bytes(packed[:-1000])
    (tmp_path / "big").write_bytes(b"x")
    os.truncate(tmp_path / "big", 64 << 20)
    return tmp_path


@pytest.mark.parametrize("board", ["riscv-virt", "arm-virt"])
@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"kernel": "notes.txt"}, "the kernel notes.txt"),
        ({"kernel": "cut.gz"}, "the kernel cut.gz"),
        ({"kernel": "big", "kernel_format": "raw"}, "the kernel big"),
        (RAW | {"initrd": "big"}, "the initrd big"),
        (RAW | {"dtb": "notes.txt"}, "notes.txt"),
        (RAW | {"dtb_overlays": ["notes.txt"]}, "notes.txt"),
        ({"bios": "cut.gz"}, "cut.gz"),
        ({"flash": ["/missing"]}, "/missing"),
        ({"flash": ["big"], "kernel": "cut.gz"}, ""),
    ],
)
def test_what_cannot_be_loaded(
    files: Path, board: str, options: dict[str, Any], cause: str
) -> None:
    with Machine(board, memory="32M", serial="none", **options) as vm:
        with pytest.raises(BimetalError) as caught:
            vm.start()
        assert cause in caught.value.cause
        with pytest.raises(BimetalError) as again:
            _ = vm.cpus
        assert again.value.cause == caught.value.cause


def test_what_a_pc_cannot_load(files: Path) -> None:
    with Machine("microvm", kernel="cut.gz", serial="none") as vm:
        with pytest.raises(BimetalError) as caught:
            vm.start()
        assert "the kernel cut.gz" in caught.value.cause


def test_what_was_loaded_can_be_looked_at_and_changed_before_the_start(script: Script) -> None:
    board = script([])
    memory = board.machine.memory
    assert memory.read(0x8020_0000, 4) == b"\x13\0\0\0"
    memory.write(0x8020_0000, b"\x73\0\x10\0")
    board.machine.start()
    assert memory.read(0x8020_0000, 8) == b"\x73\0\x10\0\x13\0\0\0"
