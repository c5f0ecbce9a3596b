"""What is new is finished or not there; what is in use is not touched."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from bimetal import BimetalError, images
from bimetal.backends.block.choose import open_disk

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source.raw"
    path.write_bytes(os.urandom(4 * MIB))
    return str(path)


def others(source: str) -> list[str]:
    return sorted(set(os.listdir(os.path.dirname(source))) - {os.path.basename(source)})


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_what_is_interrupted_leaves_nothing(source: str, format: str) -> None:
    def interrupt(done: float) -> None:
        if done > 0:
            raise KeyboardInterrupt

    target = os.path.join(os.path.dirname(source), "new")
    with pytest.raises(KeyboardInterrupt):
        images.convert([source], target, target_format=format, progress=interrupt)
    assert others(source) == []


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_what_fails_leaves_what_was_there(
    source: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = os.path.join(os.path.dirname(source), "new")
    images.create(target, MIB, format=format)
    before = Path(target).read_bytes()
    written, writing = 0, os.pwritev

    def full(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        nonlocal written
        written += sum(map(len, buffers))
        if written > 2 * MIB:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return writing(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(BimetalError, match="No space left"):
        images.convert([source], target, target_format=format)
    assert others(source) == ["new"]
    assert Path(target).read_bytes() == before


def test_an_image_in_use_is_neither_replaced_nor_changed(source: str) -> None:
    folder = os.path.dirname(source)
    used = os.path.join(folder, "used.qcow2")
    images.create(used, MIB, format="qcow2")
    with closing(open_disk(used)):
        for attempt in (
            lambda: images.create(used, MIB, format="qcow2"),
            lambda: images.convert([source], used, target_format="qcow2"),
            lambda: images.resize(used, "2M"),
            lambda: images.create_snapshot(used, "one"),
            lambda: images.check(used),
            lambda: images.convert([used], os.path.join(folder, "copy")),
        ):
            with pytest.raises(BimetalError, match="in use"):
                attempt()
        images.information(used, shared=True)
        images.convert([used], os.path.join(folder, "copy"), shared=True)


def test_nothing_is_written_over_an_image_of_the_chain(source: str) -> None:
    folder = os.path.dirname(source)
    top = os.path.join(folder, "top.qcow2")
    images.create(top, format="qcow2", backing="source.raw", backing_format="raw")
    link = os.path.join(folder, "link")
    os.link(source, link)
    for target in (source, link):
        with pytest.raises(BimetalError, match="which is read"):
            images.convert([top], target)
    with pytest.raises(BimetalError, match="which is read"):
        images.create(link, format="qcow2", backing="source.raw", backing_format="raw")


def test_links_are_followed_and_permissions_kept(source: str) -> None:
    folder = os.path.dirname(source)
    place, link = os.path.join(folder, "place"), os.path.join(folder, "link")
    Path(place).write_bytes(bytes(MIB))
    os.chmod(place, 0o640)
    os.symlink("place", link)
    images.convert([source], link)
    assert os.path.islink(link)
    assert Path(place).read_bytes() == Path(source).read_bytes()
    assert os.stat(place).st_mode & 0o777 == 0o640


def test_a_commit_that_fails_can_be_begun_again(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = os.path.join(os.path.dirname(source), "top.qcow2")
    images.create(top, format="qcow2", backing="source.raw", backing_format="raw")
    with closing(open_disk(top)) as disk:
        disk.write(MIB, b"\7" * MIB)
        shown = disk.read(0, 4 * MIB)

    def interrupt(done: float) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        images.commit(top, progress=interrupt)
    with closing(open_disk(top, readonly=True)) as disk:
        assert disk.read(0, 4 * MIB) == shown
    assert images.commit(top) == source
    assert Path(source).read_bytes() == shown


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source.raw", tmp_path / "target.raw"
    with source.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"\1" * 4096)
    images.convert([str(source)], str(target))
    assert target.stat().st_size == 1 << 40
    assert target.stat().st_blocks * 512 < MIB
    assert images.compare(str(source), str(target)).identical
