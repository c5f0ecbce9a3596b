"""``bimetal image``: qemu-img's words, texts and exit codes."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from tests.backends.block.qcow2.qemu import needs_qemu
from tests.cli.conftest import Cli

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source() -> Path:
    """A raw image of 2 MiB with holes."""
    path = Path("source.raw")
    with path.open("wb") as file:
        file.write(bytes(range(256)) * 1024)
        file.truncate(2 * MIB)
    return path


def theirs(*words: str) -> str:
    return subprocess.run(["qemu-img", *words], capture_output=True, text=True, check=True).stdout


def test_images_are_made_looked_at_and_changed(cli: Cli, source: Path) -> None:
    assert cli("image", "convert", "-O", "qcow2", str(source), "base.qcow2").code == 0
    made = cli("image", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    assert (made.code, made.out) == (0, "Formatting 'top.qcow2', fmt=qcow2 size=2097152\n")
    with closing(open_disk("top.qcow2")) as disk:
        disk.write(MIB, b"\5" * 512)
    assert cli("image", "compare", "base.qcow2", "top.qcow2").code == 1
    assert cli("image", "snapshot", "-c", "first", "top.qcow2").code == 0
    assert "first" in cli("image", "snapshot", "-l", "top.qcow2").out
    assert cli("image", "resize", "top.qcow2", "+1M").out == "Image resized.\n"
    told = json.loads(cli("image", "info", "--output=json", "top.qcow2").out)
    assert told["virtual-size"] == 3 * MIB
    chain = json.loads(cli("image", "info", "--output=json", "--backing-chain", "top.qcow2").out)
    assert [image["filename"] for image in chain] == ["top.qcow2", "base.qcow2"]
    assert cli("image", "commit", "top.qcow2").out == "Image committed.\n"
    same = cli("image", "compare", "base.qcow2", "top.qcow2")
    assert (same.code, same.out) == (0, "Images are identical.\n")
    assert cli("image", "rebase", "-b", "", "top.qcow2").code == 0
    assert "backing file" not in cli("image", "info", "top.qcow2").out
    assert cli("image", "compare", "base.qcow2", "top.qcow2").code == 0
    assert cli("image", "snapshot", "-a", "first", "top.qcow2").code == 0
    assert cli("image", "snapshot", "-d", "first", "top.qcow2").code == 0
    assert cli("image", "check", "top.qcow2").code == 0


@needs_qemu
def test_texts_are_qemus(cli: Cli, source: Path) -> None:
    theirs("convert", "-O", "qcow2", str(source), "image.qcow2")
    theirs("snapshot", "-c", "first", "image.qcow2")
    for words in (
        ["snapshot", "-l", "image.qcow2"],
        ["check", "image.qcow2"],
        ["map", "image.qcow2"],
        ["map", "-f", "raw", str(source)],
        ["measure", "-O", "qcow2", "image.qcow2"],
        ["measure", "-O", "qcow2", "--output=json", "--size", "5G"],
        ["measure", "-O", "qcow2", "-o", "cluster_size=4k,refcount_bits=64", "--size", "300M"],
        ["measure", "-O", "raw", "image.qcow2"],
    ):
        ours = [line.rstrip() for line in cli("image", *words).out.splitlines()]
        assert ours == [line.rstrip() for line in theirs(*words).splitlines()], words


def test_exit_codes_of_compare(cli: Cli, source: Path) -> None:
    longer = Path("longer.raw")
    longer.write_bytes(source.read_bytes() + bytes(MIB))
    assert cli("image", "compare", str(source), str(longer)).code == 0
    assert cli("image", "compare", "-s", str(source), str(longer)).code == 1
    longer.write_bytes(source.read_bytes() + bytes(MIB - 512) + b"\1" * 512)
    different = cli("image", "compare", str(source), str(longer))
    assert (different.code, different.out.splitlines()[-1]) == (
        1,
        f"Content mismatch at offset {3 * MIB - 512}!",
    )
    assert cli("image", "compare", str(source), "missing.raw").code > 1


def test_exit_codes_of_check(cli: Cli, source: Path) -> None:
    assert cli("image", "convert", "-O", "qcow2", str(source), "image.qcow2").code == 0
    assert cli("image", "check", "image.qcow2").code == 0
    assert cli("image", "check", "-f", "raw", str(source)).code == 63
    assert cli("image", "check", "missing.qcow2").code == 1
    counts = 2 << 16  # behind the header and the reference table
    image = bytearray(Path("image.qcow2").read_bytes())
    image[counts + 7] = 3
    Path("image.qcow2").write_bytes(image)
    leaking = cli("image", "check", "image.qcow2")
    assert (leaking.code, "1 leaked clusters" in leaking.out) == (3, True)
    assert cli("image", "check", "-r", "leaks", "image.qcow2").code == 0
    image[counts + 7] = 0
    Path("image.qcow2").write_bytes(image)
    damaged = cli("image", "check", "image.qcow2")
    assert (damaged.code, "errors were found" in damaged.out) == (2, True)
    assert "cluster 3 is counted 0 times, and used 1" in damaged.err
    mended = cli("image", "check", "-r", "all", "image.qcow2")
    assert (mended.code, "No errors were found" in mended.out) == (0, True)
    assert cli("image", "compare", "image.qcow2", str(source)).code == 0


def test_progress_is_printed_as_qemu_does(cli: Cli, source: Path) -> None:
    told = cli("image", "convert", "-p", str(source), "copy.raw").out
    assert told.startswith("    (0.00/100%)\r")
    assert told.endswith("    (100.00/100%)\r\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "-f", "vmdk", "new", "1M"], "are not made here"),
        (["create", "-f", "qcow2", "-o", "cluster_size=3000", "new", "1M"], "power of two"),
        (["create", "-f", "qcow2", "-o", "color=red", "new", "1M"], "no option 'color'"),
        (["create", "-f", "qcow2", "-o", "encryption=on", "new", "1M"], "encrypted images"),
        (["create", "-f", "qcow2", "-b", "source.raw", "new"], "nothing says which format"),
        (["create", "-f", "qcow2", "new"], "how large"),
        (["create", "no/folder/new", "1M"], "no image can be made"),
        (["convert", "-c", "source.raw", "new"], "are not compressed"),
        (["convert", "source.raw", "source.raw"], "which is read"),
        (["convert", "-l", "first", "source.raw", "new"], "is not qcow2"),
        (["resize", "-f", "raw", "source.raw", "1M"], "would lose 1 MiB at its end"),
        (["resize", "-f", "raw", "source.raw", "-2M"], "nothing would be left"),
        (["snapshot", "-c", "first", "source.raw"], "is not qcow2"),
        (["commit", "source.raw"], "is not qcow2"),
        (["measure"], "either an image or --size"),
    ],
)
def test_what_cannot_be_is_told(cli: Cli, source: Path, words: list[str], message: str) -> None:
    before = source.read_bytes()
    told = cli("image", *words)
    assert told.code
    assert message in told.err
    assert source.read_bytes() == before
    assert [path.name for path in Path().iterdir()] == ["source.raw"]


def test_advice_is_given_in_the_words_of_these_commands(cli: Cli, source: Path) -> None:
    assert cli("image", "create", "-q", "-f", "qcow2", "image.img", "1M").code == 0
    assert "file format: qcow2" in cli("image", "info", "image.img").out
    told = cli("image", "compare", "image.img", str(source))
    assert "add -f raw if" in told.err
    assert cli("image", "compare", "-f", "qcow2", "image.img", "image.img", "-F", "qcow2").code == 0
