"""The 9P server, as a guest of it sees the folder."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.share.folder import Folder
from bimetal.backends.share.server import Server
from bimetal.backends.share.wire import HEADER, Kind
from tests.backends.share.client import Client, Refused, text, u32
from tests.backends.share.conftest import Share

MODELS = ("mapped-xattr", "none")


def refusal(call: Callable[[], object]) -> int:
    """The number of the error with which the server refuses."""
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.errno


@pytest.fixture(params=MODELS)
def client(request: pytest.FixtureRequest, share: Share) -> Client:
    return share(security=request.param)


def test_files_are_read_and_written(client: Client, folder: Path) -> None:
    (folder / "old").write_bytes(bytes(range(256)) * 40)
    fid = client.open(client.walk(b"old"), os.O_RDWR)
    assert client.read(fid, 5, 10_000) == (bytes(range(256)) * 40)[5:10_005]
    assert client.write(fid, b"new", 100) == 3
    new = client.create(b"made")
    assert client.write(new, b"x" * 1000, 5) == 1000
    assert client.attributes(new).size == 1005
    assert (folder / "old").read_bytes()[98:105] == b"\x62\x63new\x67\x68"
    assert (folder / "made").read_bytes() == bytes(5) + b"x" * 1000


def test_a_file_that_is_there_is_created_once(client: Client) -> None:
    client.write(client.create(b"a"), b"text")
    exclusive = os.O_RDWR | os.O_EXCL
    assert refusal(lambda: client.create(b"a", flags=exclusive)) == errno.EEXIST
    assert client.read(client.create(b"a")) == b"text"
    assert client.read(client.create(b"a", flags=os.O_RDWR | os.O_TRUNC)) == b""


@pytest.mark.parametrize("count", [64, 300, 60_000])
def test_folders_are_listed_in_whole_whatever_fits(
    client: Client, folder: Path, count: int
) -> None:
    names = {f"file{n:03}".encode() for n in range(200)}
    for name in names:
        (folder / os.fsdecode(name)).touch()
    fid = client.open(client.walk())
    for _ in range(2):
        found = [name for name, _ in client.list(fid, count)]
        assert len(found) == 202
        assert set(found) == names | {b".", b".."}


def test_names_need_not_be_texts(client: Client, folder: Path) -> None:
    name = b"\xff\xfe \n*\x01"
    client.create(name)
    assert name in os.listdir(os.fsencode(folder))
    client.walk(name)
    assert name in [each for each, _ in client.list(client.open(client.walk()))]


def test_what_a_guest_makes_is_what_it_sees(client: Client) -> None:
    client.create(b"file", 0o640)
    client.mkdir(b"folder", 0o750)
    client.symlink(b"link", b"../anywhere/else")
    client.mknod(b"fifo", stat.S_IFIFO | 0o600)
    kinds = {
        b"file": stat.S_IFREG | 0o640,
        b"folder": stat.S_IFDIR | 0o750,
        b"link": stat.S_IFLNK | 0o777,
        b"fifo": stat.S_IFIFO | 0o600,
    }
    for name, mode in kinds.items():
        assert client.attributes(client.walk(name)).mode == mode, name
    assert client.readlink(client.walk(b"link")) == b"../anywhere/else"
    assert refusal(lambda: client.readlink(client.walk(b"file"))) == errno.EINVAL


def test_attributes_are_set(client: Client, folder: Path) -> None:
    fid = client.create(b"file", 0o600)
    client.write(fid, b"0123456789")
    client.set(fid, 1, mode=0o4755)
    client.set(fid, 8, size=4)
    client.set(fid, 0x10 | 0x20 | 0x80 | 0x100, atime=10**18, mtime=2 * 10**18 + 7)
    found = os.stat(folder / "file")
    assert (client.attributes(fid).mode & 0o7777, client.attributes(fid).size) == (0o4755, 4)
    assert (found.st_atime_ns, found.st_mtime_ns) == (10**18, 2 * 10**18 + 7)
    client.set(fid, 0x20)
    found = os.stat(folder / "file")
    assert found.st_atime_ns == 10**18
    assert found.st_mtime_ns < 2 * 10**18, "it is now"


def test_mapped_attributes_are_those_of_qemu(share: Share, folder: Path) -> None:
    client = share(uid=1000, security="mapped-xattr")
    client.create(b"file", 0o640, gid=50)
    path = folder / "file"
    assert os.stat(path).st_mode == stat.S_IFREG | 0o600
    assert os.getxattr(path, "user.virtfs.uid") == u32(1000)
    assert os.getxattr(path, "user.virtfs.gid") == u32(50)
    assert os.getxattr(path, "user.virtfs.mode") == u32(stat.S_IFREG | 0o640)
    client.mknod(b"null", stat.S_IFCHR | 0o666, 1, 3)
    assert stat.S_ISREG(os.stat(folder / "null").st_mode), "no device of the host's"
    assert client.attributes(client.walk(b"null")).rdev == os.makedev(1, 3)
    client.symlink(b"link", b"/etc/passwd")
    assert (folder / "link").read_bytes() == b"/etc/passwd"
    fid = client.walk(b"file")
    client.set(fid, 2 | 4, uid=7, gid=8)
    assert (client.attributes(fid).uid, client.attributes(fid).gid) == (7, 8)
    assert os.stat(path).st_uid == os.getuid()


def test_links_of_the_host_are_links_with_mapped_attributes_too(
    client: Client, folder: Path
) -> None:
    (folder / "link").symlink_to("somewhere")
    fid = client.walk(b"link")
    assert stat.S_ISLNK(client.attributes(fid).mode)
    assert client.readlink(fid) == b"somewhere"
    assert (b"link", 10) in client.list(client.open(client.walk()))


def test_a_file_that_is_deleted_stays_open(client: Client) -> None:
    fid = client.create(b"temporary")
    client.write(fid, b"still here")
    client.unlink(b"temporary")
    client.create(b"temporary")
    assert client.read(fid) == b"still here"
    assert client.attributes(fid).nlink == 0


def test_what_lies_in_a_renamed_folder_moves_along(client: Client) -> None:
    client.mkdir(b"a")
    client.mkdir(b"b", parent=client.walk(b"a"))
    inner = client.walk(b"a", b"b")
    client.mkdir(b"c", parent=inner)
    client.rename(b"a", b"z")
    client.mkdir(b"d", parent=inner)
    client.rename(b"b", b"y", client.walk(b"z"), 0)
    client.mkdir(b"e", parent=inner)
    client.walk(b"y", b"c")
    client.walk(b"y", b"d")
    client.walk(b"y", b"e")
    assert refusal(lambda: client.walk(b"a")) == errno.ENOENT


def test_a_fid_of_what_was_replaced_is_not_what_came_instead(client: Client, folder: Path) -> None:
    client.create(b"old")
    client.create(b"new")
    old = client.walk(b"old")
    client.rename(b"new", b"old")
    assert refusal(lambda: client.set(old, 1, mode=0o777)) == errno.ENOENT
    removed = client.walk(b"old")
    client.unlink(b"old")
    client.create(b"old", 0o600)
    assert refusal(lambda: client.attributes(removed)) == errno.ENOENT


def test_hard_links_and_removal(client: Client, folder: Path) -> None:
    client.write(client.create(b"one"), b"text")
    client.ask(Kind.LINK, u32(0) + u32(client.walk(b"one")) + text(b"two"))
    assert (folder / "two").read_bytes() == b"text"
    client.ask(Kind.REMOVE, u32(client.walk(b"one")))
    client.mkdir(b"folder")
    assert refusal(lambda: client.unlink(b"folder")) == errno.EISDIR
    assert refusal(lambda: client.unlink(b"two", flags=0x200)) == errno.ENOTDIR
    client.unlink(b"folder", flags=0x200)
    assert os.listdir(folder) == ["two"]


def test_extended_attributes(client: Client, folder: Path) -> None:
    fid = client.walk()
    client.ask(Kind.XATTRCREATE, u32(fid) + text(b"user.colour") + struct.pack("<QI", 4, 0))
    client.write(fid, b"blue")
    client.clunk(fid)
    assert os.getxattr(folder, "user.colour") == b"blue"
    answer = client.ask(Kind.XATTRWALK, struct.pack("<II", 0, 900) + text(b"user.colour"))
    assert answer == struct.pack("<Q", 4)
    assert client.read(900) == b"blue"
    names = client.ask(Kind.XATTRWALK, struct.pack("<II", 0, 901) + text(b""))
    assert names == struct.pack("<Q", len(b"user.colour\0"))
    assert client.read(901) == b"user.colour\0"


@pytest.mark.parametrize("name", [b"user.virtfs.uid", b"trusted.overlay.opaque", b"security.x"])
def test_attributes_that_are_not_the_guests(share: Share, name: bytes) -> None:
    client = share(security="mapped-xattr")
    fid = client.walk()
    body = text(name) + struct.pack("<QI", 4, 0)
    assert refusal(lambda: client.ask(Kind.XATTRCREATE, u32(fid) + body)) == errno.EOPNOTSUPP
    ask = struct.pack("<II", 0, 900) + text(name)
    assert refusal(lambda: client.ask(Kind.XATTRWALK, ask)) == errno.ENODATA


def test_nothing_changes_in_a_folder_that_is_only_read(share: Share, folder: Path) -> None:
    (folder / "file").write_bytes(b"text")
    client = share(readonly=True)
    file = client.walk(b"file")
    changes: list[Callable[[], object]] = [
        lambda: client.create(b"new"),
        lambda: client.create(b"file"),
        lambda: client.open(client.walk(b"file"), os.O_WRONLY),
        lambda: client.open(client.walk(b"file"), os.O_RDONLY | os.O_TRUNC),
        lambda: client.mkdir(b"new"),
        lambda: client.symlink(b"new", b"x"),
        lambda: client.mknod(b"new", stat.S_IFIFO),
        lambda: client.rename(b"file", b"other"),
        lambda: client.unlink(b"file"),
        lambda: client.ask(Kind.LINK, u32(0) + u32(file) + text(b"two")),
        lambda: client.set(file, 1, mode=0),
        lambda: client.set(file, 8, size=0),
        lambda: client.ask(
            Kind.XATTRCREATE, u32(file) + text(b"user.a") + struct.pack("<QI", 1, 0)
        ),
        lambda: client.ask(Kind.REMOVE, u32(client.walk(b"file"))),
    ]
    for change in changes:
        assert refusal(change) == errno.EROFS
    assert client.read(client.open(file)) == b"text"
    assert os.listdir(folder) == ["file"]
    assert (folder / "file").read_bytes() == b"text"


def test_limits(share: Share, folder: Path) -> None:
    client = share(size=8192)
    assert client.size == 8192
    (folder / "big").write_bytes(bytes(100_000))
    fid = client.open(client.walk(b"big"))
    assert len(client.read(fid, 0, 100_000)) == 8192 - HEADER.size - 4
    assert refusal(lambda: client.create(b"x" * 256)) == errno.ENAMETOOLONG
    huge = u32(client.walk()) + text(b"user.a") + struct.pack("<QI", 1 << 40, 0)
    assert refusal(lambda: client.ask(Kind.XATTRCREATE, huge)) == errno.E2BIG
    soft = client.server._session.fids._open_limit
    client.server._session.fids._open_limit = 3
    fids = [client.open(client.walk(b"big")) for _ in range(2)]
    assert refusal(lambda: client.open(client.walk(b"big"))) == errno.EMFILE
    client.clunk(fids[0])
    client.open(client.walk(b"big"))
    assert soft > 3


def test_paths_longer_than_the_kernel_takes(client: Client) -> None:
    name, fid = b"n" * 200, 0
    for _ in range(40):
        client.mkdir(name, parent=fid)
        fid = client.walk(name, start=fid)
    assert stat.S_ISDIR(client.attributes(fid).mode)
    assert client.list(client.open(fid)) == [(b".", 4), (b"..", 4)]


def test_what_is_open_survives_a_snapshot(share: Share, folder: Path) -> None:
    client = share()
    fid = client.create(b"file")
    client.write(fid, b"before")
    client.mkdir(b"folder")
    place = client.walk(b"folder")
    other = Server(Folder(str(folder)))
    other.load(client.server.save())
    client.server.close()
    client.server = other
    client.write(fid, b"after", 6)
    client.mkdir(b"inner", parent=place)
    assert (folder / "file").read_bytes() == b"beforeafter"
    assert (folder / "folder" / "inner").is_dir()
    other.close()


@pytest.mark.parametrize(
    "request_", [b"", b"\0" * 6, HEADER.pack(7, 200, 1), HEADER.pack(1 << 31, Kind.WALK, 1),
                 HEADER.pack(3, Kind.WALK, 1), HEADER.pack(9, Kind.CLUNK, 1) + b"\0\0"]
)  # fmt: skip
def test_what_is_no_request_is_an_error(share: Share, request_: bytes) -> None:
    answer = share().server.answer(request_, 11)
    assert answer[4] == Kind.ERROR + 1
    assert struct.unpack("<I", answer[HEADER.size :])[0] == errno.EINVAL
