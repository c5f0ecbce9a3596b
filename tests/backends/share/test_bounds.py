"""No path that a guest names leads out of the folder, whatever lies in it or changes meanwhile."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bimetal.backends.share.beneath import held
from bimetal.backends.share.folder import Folder
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.share.client import Client, Refused
from tests.backends.share.conftest import Share

SECRET = b"nobody's business"


@pytest.mark.parametrize("names", [(b"..", b"secret"), (b"..", b"..", b"secret")])
def test_the_parent_of_the_folder_is_the_folder(share: Share, names: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused) as caught:
        share().walk(*names)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "name", [b"../secret", b"/etc/passwd", b"a/b", b"", b"a\0b", b"./secret", b"x/../../secret"]
)
def test_a_name_is_not_a_path(share: Share, folder: Path, name: bytes) -> None:
    (folder / "a").mkdir()
    client = share()
    asks: list[Callable[[], object]] = [
        lambda: client.walk(name),
        lambda: client.create(name),
        lambda: client.mkdir(name),
        lambda: client.symlink(name, b"x"),
        lambda: client.mknod(name, stat.S_IFIFO),
        lambda: client.unlink(name),
        lambda: client.rename(b"a", name),
        lambda: client.rename(name, b"b"),
    ]
    for ask in asks:
        with pytest.raises(Refused):
            ask()
    assert os.listdir(folder) == ["a"]
    assert os.listdir(folder / "a") == []


@pytest.mark.parametrize("name", [b".", b".."])
def test_what_cannot_be_made_or_moved(share: Share, folder: Path, name: bytes) -> None:
    client = share()
    client.mkdir(b"a")
    inner = client.walk(b"a")
    asks: list[Callable[[], object]] = [
        lambda: client.mkdir(name, parent=inner),
        lambda: client.unlink(name, inner, 0x200),
        lambda: client.rename(name, b"b", inner, 0),
        lambda: client.rename(b"a", name, 0, inner),
    ]
    for ask in asks:
        with pytest.raises(Refused):
            ask()


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "..", "inside"])
def test_links_are_not_followed(share: Share, folder: Path, target: str) -> None:
    (folder / "inside").write_bytes(b"even this")
    (folder / "link").symlink_to(target)
    client = share()
    link = client.walk(b"link")
    assert client.readlink(link) == target.encode()
    for ask in (
        lambda: client.open(client.walk(b"link")),
        lambda: client.open(client.walk(b"link"), os.O_WRONLY),
        lambda: client.create(b"link"),
        lambda: client.walk(b"link", b"secret"),
        lambda: client.set(link, 8, size=0),
        lambda: client.mkdir(b"new", parent=link),
        lambda: client.unlink(b"secret", parent=link),
        lambda: client.rename(b"inside", b"secret", 0, link),
    ):
        with pytest.raises(Refused):
            ask()
    assert (folder.parent / "secret").read_bytes() == SECRET
    assert (folder / "inside").read_bytes() == b"even this"


def test_a_link_into_proc_is_not_followed(share: Share, folder: Path) -> None:
    (folder / "magic").symlink_to("/proc/self/root")
    with pytest.raises(Refused):
        share().walk(b"magic", b"etc")


def test_a_folder_that_becomes_a_link_is_not_followed(share: Share, folder: Path) -> None:
    client = share()
    client.mkdir(b"a")
    inner = client.walk(b"a")
    (folder / "a").rmdir()
    (folder / "a").symlink_to("..")
    for ask in (
        lambda: client.walk(b"secret", start=inner),
        lambda: client.unlink(b"secret", parent=inner),
        lambda: client.list(client.open(inner)),
    ):
        with pytest.raises(Refused):
            ask()
    assert (folder.parent / "secret").read_bytes() == SECRET


def test_a_folder_that_leaves_takes_nobody_along(share: Share, folder: Path) -> None:
    client = share()
    client.mkdir(b"a")
    inner = client.walk(b"a")
    (folder / "a").rename(folder.parent / "gone")
    with pytest.raises(Refused):
        client.mkdir(b"b", parent=inner)
    assert os.listdir(folder.parent / "gone") == []


def test_a_race_against_the_walk_is_lost(share: Share, folder: Path) -> None:
    """Somebody swaps a folder and a link out all the time; the guest tries to catch the moment."""
    client = share()
    (folder / "a").mkdir()
    (folder / "a" / "secret").write_bytes(b"decoy")
    (folder / "link").symlink_to("..")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(folder / "a", folder / "b")
            os.rename(folder / "link", folder / "a")
            os.rename(folder / "a", folder / "link")
            os.rename(folder / "b", folder / "a")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(300):
            with suppress(Refused):
                fid = client.open(client.walk(b"a", b"secret"))
                assert client.read(fid) == b"decoy"
                client.clunk(fid)
    finally:
        done.set()
        swapper.join()


def test_special_files_are_not_opened(share: Share, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    client = share()
    for name in (b"fifo", b"socket"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with pytest.raises(Refused):
                client.open(client.walk(name), flags)
        with pytest.raises(Refused):
            client.create(name)
    listener.close()


def test_nothing_is_left_open(share: Share, folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    server_of = [share() for _ in range(2)]
    for client in server_of:
        client.create(b"file")
        client.list(client.open(client.walk()))
        with suppress(Refused):
            client.walk(b"no", b"such")
        client.server.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_root_cannot_be_moved_or_removed(share: Share) -> None:
    client = share()
    client.mkdir(b"a")
    for kind, body in ((20, b"\1\0\0\0\0\0\0\0\1\0b"), (122, b"\1\0\0\0")):
        client.walk()
        with pytest.raises(Refused):
            client.ask(kind, body)
    assert Client is type(client)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_text("text"), "is no folder"),
        (lambda path: path.symlink_to(".."), "is a link to .."),
        (lambda path: path.symlink_to("nowhere"), "is a link to nowhere"),
        (os.mkfifo, "is no folder"),
    ],
)
def test_what_cannot_be_shared(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "place"
    make(path)  # type: ignore[operator]
    with pytest.raises(BimetalError, match=says) as caught:
        Folder(str(path))
    assert caught.value.exit_code in (ExitCode.USAGE, ExitCode.NO_INPUT)
    assert caught.value.remedy


def test_a_path_with_a_zero_byte() -> None:
    with pytest.raises(BimetalError, match="zero byte"):
        Folder("/tmp/a\0b")


def test_opening_beneath_leaves_the_folder_only_by_an_error(folder: Path) -> None:
    fd = os.open(folder, os.O_PATH)
    try:
        with pytest.raises(OSError, match="Invalid cross-device link"), held(fd, [b"..", b"x"]):
            pass
        with held(fd, []) as same:
            assert os.path.sameopenfile(fd, same)
    finally:
        os.close(fd)
