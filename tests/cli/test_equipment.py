"""Options for devices besides disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import BimetalError, ExitCode, Machine
from bimetal.cli.equipment import ShareOption, parse_port, parse_share, parse_vsock
from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("work,tag=a", ShareOption("work", "a")),
        ("/a,,b,tag=x,readonly", ShareOption("/a,b", "x", readonly=True)),
        (".,security=none,tag=x,readonly=off", ShareOption(".", "x", security="none")),
    ],
)
def test_what_a_share_says(text: str, share: ShareOption) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["", "work", "work,readonly", "work,tag=", "work,tag=a,tag=b", "work,tag=a,cache=none"]
)
def test_shares_that_mean_nothing(text: str) -> None:
    with pytest.raises(BimetalError, match="--share") as caught:
        parse_share(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "tag=NAME" in caught.value.remedy


def test_what_a_port_says(tmp_path: Path) -> None:
    assert parse_port("unix:/a,,b,name=agent") == ("agent", "unix:/a,b")
    for text in ("", "unix:/a", "unix:/a,name=", "unix:/a,name=a,name=b", "unix:/a,cid=3"):
        with pytest.raises(BimetalError, match="--port"):
            parse_port(text)
    with Machine(memory="16M") as vm:
        for name, where in (("", "unix:/a"), ("a/b", "unix:/a"), ("a", "stdio"), ("a", "pty")):
            with pytest.raises(BimetalError, match="port"):
                vm.port(name, where)
        vm.port("agent", f"unix:{tmp_path / 'agent'}")
        with pytest.raises(BimetalError, match="two ports"):
            vm.port("agent", f"unix:{tmp_path / 'b'}")
        assert vm.devices
        assert (tmp_path / "agent").is_socket()
    assert not (tmp_path / "agent").exists()


def test_what_a_vsock_says(tmp_path: Path) -> None:
    assert parse_vsock("/a,,b,cid=7") == ("/a,b", 7)
    for text in ("", "a,cid=", "a,cid=-1", "a,port=3", "a,cid=3,cid=4", "a,cid=\u0663"):
        with pytest.raises(BimetalError, match=r"--vsock|context"):
            parse_vsock(text)
    with Machine(memory="16M") as vm:
        with pytest.raises(BimetalError, match="context 2"):
            vm.vsock(tmp_path / "a", cid=2)
        vm.vsock(tmp_path / "a")
        with pytest.raises(BimetalError, match="one vsock"):
            vm.vsock(tmp_path / "b")


def test_a_vsock_where_something_is_stays_away(cli: Cli, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(64))
    told = cli("run", "--kernel", str(kernel), "--kernel-format", "raw", "--bios", "none",
               "--vsock", str(kernel))  # fmt: skip
    assert told.code == ExitCode.UNAVAILABLE
    assert "is no socket" in told.err
    assert kernel.read_bytes() == bytes(64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tag": ""}, "tag"),
        ({"tag": "a,b"}, "tag"),
        ({"tag": "x" * 32}, "tag"),
        ({"tag": "\u00e9"}, "tag"),
        ({"tag": "a", "security": "mapped"}, "mapped-xattr"),
    ],
)
def test_shares_that_cannot_be(tmp_path: Path, options: dict[str, str], says: str) -> None:
    with Machine(memory="16M") as vm:
        with pytest.raises(BimetalError, match=says):
            vm.share(tmp_path, **options)  # type: ignore[arg-type]
        vm.share(tmp_path, tag="a")
        with pytest.raises(BimetalError, match="two shares have the tag 'a'"):
            vm.share(tmp_path, tag="a")


def test_a_share_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(64))
    (tmp_path / "link").symlink_to("/")
    for path, says in (
        ("nowhere", "No such file"),
        ("kernel", "no folder"),
        ("link", "a link to /"),
    ):
        told = cli("run", "--kernel", str(kernel), "--kernel-format", "raw", "--bios", "none",
                   "--share", f"{tmp_path / path},tag=a")  # fmt: skip
        assert told.code in (ExitCode.USAGE, ExitCode.NO_INPUT)
        assert says in told.err


def test_buses_and_media_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "cd").write_bytes(bytes(4096))
    with Machine(memory="16M") as vm:
        with pytest.raises(BimetalError, match="no bus 'ide'"):
            vm.disk(tmp_path / "cd", bus="ide")
        drive = vm.cdrom(tmp_path / "cd")
        empty = vm.cdrom()
        assert (drive.loaded, empty.loaded) == (True, False)
        with pytest.raises(BimetalError, match="nowhere"):
            empty.insert(tmp_path / "nowhere")
        drive.eject()
        empty.insert(tmp_path / "cd")
        assert (drive.loaded, empty.loaded) == (False, True)
        with pytest.raises(BimetalError, match="already built"):
            vm.cdrom()
    vm = Machine(memory="16M")
    vm.cdrom(tmp_path / "nowhere")
    with pytest.raises(BimetalError, match="nowhere"):
        vm.devices  # noqa: B018  # builds the machine
    vm.close()
