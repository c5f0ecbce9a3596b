"""Every kind of image that QEMU makes shows us what it shows QEMU, and stays as it is."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.foreign.converting import (
    KINDS,
    MIB,
    make,
    needs_qemu,
    pattern,
    qemu_content,
    shown,
)

pytestmark = needs_qemu


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_disk_is_the_one_that_qemu_sees(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(content := pattern(3 * MIB + 7 * 512, seed=len(kind)))
    (folder := tmp_path / "images").mkdir()
    path = make(kind, source, folder)
    before = files(folder)
    with contextlib.closing(open_disk(str(path), snapshot=True)) as disk:
        disk.write(512, b"\xaa" * 4096)
        assert disk.read(0, 512) + disk.read(4608, 512) == content[:512] + content[4608:5120]
    data = shown(path)
    assert data == qemu_content(path, KINDS[kind][0])
    assert data[: len(content)] == content
    assert not any(data[len(content) :]), "geometries have whole cylinders"
    before["seen.raw"] = data
    assert files(folder) == before


@pytest.mark.parametrize("kind", KINDS)
def test_extents_tell_where_the_data_is(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(pattern(2 * MIB, seed=5) + bytes(14 * MIB))
    path = make(kind, source, tmp_path)
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        at, whole = 0, disk.read(0, disk.size)
        for extent in disk.extents(0, disk.size):
            assert extent.start == at
            at = extent.stop
            data = whole[extent.start : at]
            if extent.zero:
                assert not any(data)
            if extent.offset is not None:
                assert Path(extent.path).read_bytes()[extent.offset :][: len(data)] == data
        assert at == disk.size
        if "flat" not in kind and "fixed" not in kind:
            assert any(extent.zero for extent in disk.extents(0, disk.size))


@pytest.mark.parametrize("kind", ["vdi", "vhd of any size", "vhdx", "vmdk", "vmdk in sparse parts"])
def test_a_large_disk_has_its_bytes_where_they_belong(tmp_path: Path, kind: str) -> None:
    """Behind the first grain directory, part, bitmap block and page of a table."""
    format, options = KINDS[kind]
    path, size = tmp_path / f"disk.{format}", 5 << 30
    command = ["qemu-img", "create", "-q", "-f", format, *(["-o", options] if options else [])]
    subprocess.run([*command, str(path), str(size)], check=True, timeout=60)
    places = [0, (2 << 30) - 65536, (2 << 30) - 4096, (4 << 30) + 12288, size - 4096]
    writes = [f"write -P {number} {at} 4096" for number, at in enumerate(places, 1)]
    orders = [word for order in writes for word in ("-c", order)]
    subprocess.run(["qemu-io", "-f", format, *orders, str(path)], check=True, timeout=60)
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        assert disk.size == size
        for number, at in enumerate(places, 1):
            assert disk.read(at, 4096) == bytes([number]) * 4096
        assert not any(disk.read((1 << 30) + 1, MIB)), "not even at an odd place"


@pytest.mark.parametrize("kind", ["vdi", "vhd", "vhd, fixed", "vhdx", "vmdk", "vmdk, flat"])
def test_it_is_never_written(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(bytes(MIB))
    path = make(kind, source, tmp_path)
    before = path.read_bytes()
    with pytest.raises(BimetalError, match="is only read") as caught:
        open_disk(str(path))
    assert caught.value.exit_code == ExitCode.USAGE
    assert "readonly" in caught.value.remedy
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        assert disk.readonly
        changes: list[Callable[[], None]] = [
            lambda: disk.write(0, bytes(512)),
            lambda: disk.discard(0, 512),
            lambda: disk.write_zeroes(0, 512),
        ]
        for change in changes:
            with pytest.raises(OSError, match="Read-only") as failure:
                change()
            assert failure.value.errno == errno.EROFS
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["vdi", "vhdx", "vmdk", "vmdk in sparse parts", "vhd, fixed"])
def test_the_format_may_be_said_for_any_name(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(b"\xab" * MIB)
    format = KINDS[kind][0]
    path = make(kind, source, tmp_path)
    other = path.rename(tmp_path / "disk.img")
    with pytest.raises(BimetalError, match=f"looks like {format}") as caught:
        open_disk(str(other), readonly=True)
    assert f"format={format}" in caught.value.remedy
    assert shown(other, format=format)[:MIB] == b"\xab" * MIB


@pytest.mark.parametrize("kind", ["vdi", "vhd of any size", "vhdx", "vmdk", "vmdk in flat parts"])
def test_a_qcow2_image_may_lie_on_it(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(content := pattern(MIB, seed=3))
    base, format = make(kind, source, tmp_path), KINDS[kind][0]
    path = tmp_path / "over.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", base.name, str(path)]
    subprocess.run(command, check=True, timeout=60)
    with contextlib.closing(open_disk(str(path))) as disk:
        assert disk.read(0, MIB) == content
        disk.write(0, b"\1" * 512)
    assert shown(path) == b"\1" * 512 + content[512:] == qemu_content(path, "qcow2")
