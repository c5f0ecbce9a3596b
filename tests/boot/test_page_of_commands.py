"""The page of commands that people are told to type, from end to end, with a system that boots."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.boot.conftest import LIMIT, SOURCE, Fetch
from tests.control.homes import Homes

pytestmark = pytest.mark.boot

GIB = 1 << 30


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Homes]:
    """The folders of one user, whose machines are ended after the test."""
    made = Homes(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    yield made
    made.close()


@contextmanager
def console(name: str) -> Iterator[pexpect.spawn[str]]:
    """A person at the console of a machine, who leaves it at the end."""
    path = os.pathsep.join([str(SOURCE), *sys.path])
    line = pexpect.spawn(
        sys.executable, ["-m", "bimetal", "console", name], env={**os.environ, "PYTHONPATH": path},
        encoding="utf-8", codec_errors="replace", timeout=LIMIT,
    )  # fmt: skip
    try:
        line.expect_exact("Escape character is ^]")
        yield line
        line.send("\x1d")
        line.expect(pexpect.EOF)
    finally:
        line.close(force=True)


def ask(line: pexpect.spawn[str], command: str, answer: str) -> None:
    line.send(f"{command}\r")
    line.expect_exact(answer)


def test_that_page(
    homes: Homes,
    fetched: Fetch,
    tmp_path: Path,
) -> None:
    debian = fetched("debian-riscv64")
    assert "KVM" in homes.bimetal("kvm-ok").out
    tree = tmp_path / "installer"
    tree.mkdir()
    assert debian.kernel is not None
    assert debian.initrd is not None
    (tree / "vmlinuz").symlink_to(debian.kernel)
    (tree / "initrd.gz").symlink_to(debian.initrd)
    installed = homes.bimetal(
        "install", "--name", "ubuntu-vm", "--ram", "512", "--vcpus", "2", "--disk", "size=20",
        "--location", str(tree), "--extra-args", debian.append, "--arch", "riscv64",
        "--os-type", "linux", "--os-variant", "ubuntu20.04", "--noautoconsole",
        "--boot", f"kernel={debian.kernel},initrd={debian.initrd},cmdline={debian.append}",
    )  # fmt: skip
    assert installed.code == 0, installed.err
    assert homes.say("-q", "list", "--all").split() == ["1", "ubuntu-vm", "running"]
    disk = homes.machines.definition("ubuntu-vm").disks[0].path
    with console("ubuntu-vm") as line:
        line.expect_exact("# ")
        ask(line, "cat /sys/block/vda/size", str(20 * GIB // 512))
        ask(line, "echo kept > /tmp/file; echo do''ne", "done")
    homes.say("save", "ubuntu-vm", str(tmp_path / "saved"))
    assert homes.say("-q", "domstate", "ubuntu-vm") == "shut off\n"
    homes.say("restore", str(tmp_path / "saved"))
    with console("ubuntu-vm") as line:
        ask(line, "cat /tmp/file", "kept")
    homes.say("snapshot-create-as", "ubuntu-vm", "before")
    with console("ubuntu-vm") as line:
        ask(line, "rm /tmp/file; ls /tmp/file", "No such file")
    homes.say("snapshot-revert", "ubuntu-vm", "before")
    with console("ubuntu-vm") as line:
        ask(line, "cat /tmp/file", "kept")
        line.send("poweroff\r")
        line.expect(pexpect.EOF)
    assert homes.machines.await_end("ubuntu-vm", LIMIT)
    copied = homes.bimetal("clone", "--original", "ubuntu-vm", "--name", "copy")
    assert copied.code == 0, copied.err
    assert homes.say("-q", "list", "--all", "--name").split() == ["copy", "ubuntu-vm"]
    homes.say("start", "copy")
    with console("copy") as line:
        line.expect_exact("# ")
        ask(line, "uname -m", "riscv64")
    homes.say("destroy", "copy")
    for name in ("copy", "ubuntu-vm"):
        assert "removed." in homes.say("undefine", name, "--remove-all-storage")
    assert not Path(disk).exists()
    assert list(homes.machines) == []
