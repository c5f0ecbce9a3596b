"""Images that the host does not open: what is said, and that the advice is good."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from tests.host import programs

NOBODY = 65534
MIB = 1 << 20


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def image(folder: Path) -> Path:
    path = folder / "disk.img"
    path.write_bytes(bytes(MIB))
    return path


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, if we have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refused(path: Path | str, *, readonly: bool = False, snapshot: bool = False) -> BimetalError:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BimetalError) as caught:
        open_disk(str(path), readonly=readonly, snapshot=snapshot)
    assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.remedy
    return caught.value


# Nothing there


def test_a_missing_image(folder: Path) -> None:
    error = refused(folder / "my disk.img")
    assert error.exit_code == ExitCode.NO_INPUT
    subprocess.run(error.remedy.split("empty image: ")[1], shell=True, check=True)
    with contextlib.closing(open_disk(str(folder / "my disk.img"))) as disk:
        assert disk.size == 8 << 30
    assert refused(folder / "my other.img", readonly=True).remedy == "check the path"


@programs("qemu-img")
@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_or_empty_qcow2_image(folder: Path, empty: bool) -> None:
    path = folder / "my disk.qcow2"
    if empty:
        path.touch()
    command = refused(path).remedy.rpartition(": ")[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    with contextlib.closing(open_disk(str(path))) as disk:
        assert disk.size == 8 << 30


def test_a_missing_folder(folder: Path, image: Path) -> None:
    assert f"there is no folder '{folder}/a'" in refused(folder / "a" / "b" / "c.img").cause
    assert f"'{image}' is no folder" in refused(image / "c.img").cause
    assert "truncate" not in refused(folder / "a" / "b" / "c.img").remedy


def test_a_link_that_leads_nowhere(folder: Path) -> None:
    (folder / "disk.img").symlink_to("elsewhere.img")
    assert "it is a link to 'elsewhere.img'" in refused(folder / "disk.img").cause
    (folder / "circle.img").symlink_to("circle.img")
    assert "a link that leads in a circle" in refused(folder / "circle.img").cause


def test_a_link_to_an_image_is_as_good(folder: Path, image: Path) -> None:
    (folder / "link.img").symlink_to(image)
    with contextlib.closing(open_disk(str(folder / "link.img"))) as disk:
        disk.write(0, b"\1" * 512)
    assert image.read_bytes()[:512] == b"\1" * 512


@pytest.mark.parametrize("path", ["https://example.org/disk.img", "ssh://host/disk"])
def test_an_address(path: str) -> None:
    assert "that is an address" in refused(path).remedy


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000, ""])
def test_what_is_no_path(path: str) -> None:
    assert refused(path).exit_code == ExitCode.NO_INPUT


# No disk


def test_what_is_neither_file_nor_disk(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        for path, what in (
            (folder, "a folder"), (folder / "pipe", "a pipe"), (folder / "socket", "a socket"),
            ("/dev/null", "a character device"), ("/dev/zero", "a character device"),
        ):  # fmt: skip
            for options in ({}, {"readonly": True}, {"snapshot": True}):
                error = refused(path, **options)
                assert what in error.cause
                assert error.exit_code == ExitCode.DATA


def test_no_device_is_opened_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(os, "open", lambda path, *_: opened.append(path))
    refused("/dev/null")
    assert opened == [], "a watchdog, say, would have begun to run"


def test_an_empty_file(image: Path) -> None:
    os.truncate(image, 0)
    assert "readonly" not in refused(image, readonly=True).remedy
    subprocess.run(refused(image).remedy.split("of it: ")[1], shell=True, check=True)
    open_disk(str(image)).close()


# No permission


def test_a_file_that_may_only_be_read(image: Path) -> None:
    image.chmod(0o444)
    with as_nobody():
        error = refused(image)
        assert "Permission denied" in error.cause
        assert "readonly or snapshot" in error.remedy
        assert error.exit_code == ExitCode.NO_PERMISSION
        open_disk(str(image), readonly=True).close()
        open_disk(str(image), snapshot=True).close()


def test_a_file_that_may_not_even_be_read(image: Path) -> None:
    image.chmod(0o000)
    with as_nobody():
        for options in ({}, {"readonly": True}, {"snapshot": True}):
            error = refused(image, **options)
            assert "Permission denied" in error.cause
            assert "readonly" not in error.remedy, "it would not help"


def test_a_folder_that_lets_nobody_through(folder: Path) -> None:
    path = folder / "closed" / "sub" / "disk.img"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(MIB))
    path.parents[1].chmod(0o600)
    with as_nobody():
        for options in ({}, {"readonly": True}):
            assert f"Permission denied in '{folder}/closed'" in refused(path, **options).cause


@pytest.mark.parametrize(
    ("number", "cause", "remedy"),
    [
        (errno.EROFS, "a file system that is only read", "readonly or snapshot"),
        (errno.EPERM, "Operation not permitted", "readonly or snapshot"),
        (errno.ETXTBSY, "as swap space or as a program", "readonly or snapshot"),
        (errno.EBUSY, "it is mounted, or another machine has it", "findmnt"),
        (errno.EMFILE, "one file too many", "ulimit"),
        (errno.ENOMEDIUM, "without a medium", "insert one"),
        (errno.EIO, "Input/output error", "dmesg"),
    ],
)
def test_what_else_the_host_says(
    image: Path, monkeypatch: pytest.MonkeyPatch, number: int, cause: str, remedy: str
) -> None:
    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", failing)
    error = refused(image)
    assert cause in error.cause
    assert remedy in error.remedy


def test_no_descriptor_left(image: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        with pytest.raises(BimetalError, match="one file too many"):
            open_disk(str(image))
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_place_for_a_snapshot(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/missing")
    error = refused(image, snapshot=True)
    assert "TMPDIR" in error.remedy
    open_disk(str(image)).close()


# In use


def test_one_image_for_two_disks(folder: Path, image: Path) -> None:
    (folder / "link.img").symlink_to(image)
    (folder / "hard.img").hardlink_to(image)
    with contextlib.closing(open_disk(str(image))):
        for name in ("disk.img", "link.img", "hard.img"):
            for readonly in (False, True):
                error = refused(folder / name, readonly=readonly)
                assert "another machine or disk of this program" in error.cause
                assert error.exit_code == ExitCode.UNAVAILABLE
    with (
        contextlib.closing(open_disk(str(image), readonly=True)),
        contextlib.closing(open_disk(str(folder / "hard.img"), snapshot=True)),
    ):
        pass


def test_an_image_of_another_program(image: Path) -> None:
    program = (
        "import os, sys; from bimetal.backends.block.lock import lock_image;"
        f"lock_image(os.open({str(image)!r}, os.O_RDWR), writing=True);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        error = refused(image)
        assert re.search(r"in use by another machine$", error.cause)
        assert "end that machine" in error.remedy
        other.stdin.close()
