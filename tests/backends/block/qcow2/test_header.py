"""What the header may say, and what is refused by name."""

from __future__ import annotations

import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from tests.backends.block.qcow2.qemu import SIZE, create, img, needs_qemu

pytestmark = needs_qemu


def test_features_that_came_later_are_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    with path.open("r+b") as file:
        file.seek(72)
        file.write(struct.pack(">Q", 1 << 17))
    with pytest.raises(BimetalError, match="features 0x20000, which is not supported"):
        open_disk(str(path), readonly=True)


def test_a_data_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", data_file=tmp_path / "disk.data")
    (tmp_path / "disk.data").unlink()
    with pytest.raises(BimetalError, match=r"no file '.*disk\.data'.*has its data"):
        open_disk(str(path))


@pytest.mark.parametrize("name", ["nbd:localhost:1", "disk.qcow2"])
def test_a_data_file_that_cannot_be_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = create(tmp_path / "disk.qcow2", data_file="some-file.name.qcow2"[: len(name)])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"some-file.name.qcow2"[: len(name)], name.encode()))
    with pytest.raises(BimetalError, match=r"path of a file|names itself"):
        open_disk(str(path))


def test_an_encrypted_image_is_told_how_to_be_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a,disk.qcow2"
    (tmp_path / "PASSWORD_FILE").write_text("secret")
    options = "encrypt.format=aes,encrypt.key-secret=key"  # LUKS would measure the host
    secret = "secret,id=key,file=PASSWORD_FILE"
    img("create", "-q", "-f", "qcow2", "--object", secret, "-o", options, path, str(SIZE))
    with pytest.raises(BimetalError, match="encryption") as caught:
        open_disk(str(path))
    subprocess.run(caught.value.remedy.partition(": ")[2], shell=True, check=True)
    with closing(open_disk(str(tmp_path / "a,disk-2.qcow2"))) as disk:
        assert disk.read(0, SIZE) == bytes(SIZE)


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (100, struct.pack(">I", 72), "header makes no sense"),
        (100, struct.pack(">I", 103), "header makes no sense"),
        (104, b"\1", "compression"),
        (104, b"\xff", "compression"),
    ],
)
def test_a_header_that_contradicts_itself_is_damage(
    tmp_path: Path, at: int, field: bytes, message: str
) -> None:
    path = create(tmp_path / "disk.qcow2")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(field)
    reading = ["qemu-io", "-r", "-f", "qcow2", "-c", "read 0 512", str(path)]
    assert subprocess.run(reading, check=False, capture_output=True).returncode, "QEMU refuses it"
    with pytest.raises(BimetalError, match=message):
        open_disk(str(path), readonly=True)
