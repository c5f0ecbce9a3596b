"""Options of ``bimetal run`` that have to do with the device tree."""

from __future__ import annotations

from pathlib import Path

from bimetal import ExitCode
from bimetal.firmware.devicetree import words_of
from bimetal.firmware.flat_tree import read_tree
from tests.cli.conftest import Cli
from tests.firmware.trees import compiled


def test_the_tree_is_written_and_nothing_runs(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "virt.dtb"
    told = cli("run", "--dumpdtb", str(path), "--memory", "96M", "--cpus", "2")
    assert (told.code, told.out, told.err) == (0, "", "")
    root = read_tree(path.read_bytes(), "the tree").root
    memory = root.find("/memory")
    assert memory is not None
    assert words_of(memory["reg"]) == (0, 0x8000_0000, 0, 96 << 20)


def test_a_tree_and_overlays_go_through(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.dtb").write_bytes(compiled('/dts-v1/; / { model = "mine"; };'))
    (tmp_path / "b.dtbo").write_bytes(compiled("/dts-v1/; /plugin/; &{/} { one; };"))
    (tmp_path / "c.dtbo").write_bytes(compiled("/dts-v1/; /plugin/; &{/} { two; };"))
    names = [str(tmp_path / name) for name in ("a.dtb", "b.dtbo", "c.dtbo", "out.dtb")]
    options = ["--dtb", names[0], "--dtb-overlay", names[1], "--dtb-overlay", names[2]]
    assert cli("run", *options, "--dumpdtb", names[3]).code == 0
    root = read_tree((tmp_path / "out.dtb").read_bytes(), "the tree").root
    assert {"model", "one", "two"} <= set(root.properties)


def test_files_that_cannot_be_used(cli: Cli, tmp_path: Path) -> None:
    told = cli("run", "--dumpdtb", str(tmp_path / "missing" / "x"))
    assert told.code == 64
    assert "cannot be written" in told.err
    told = cli("run", "--dumpdtb", "/dev/full")
    assert told.code == ExitCode.IO_ERROR
    assert "the device tree /dev/full cannot be written: No space" in told.err
    assert "make room" in told.err
    told = cli("run", "--dtb", str(tmp_path / "none.dtb"), "--dumpdtb", "-")
    assert told.code == 66
    assert "none.dtb cannot be read" in told.err
    told = cli("run", "--board", "microvm", "--dumpdtb", "-")
    assert told.code == 64
    assert "has no device tree" in told.err
