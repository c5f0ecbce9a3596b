"""``bimetal image serve``: a process that serves, and ends in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from tests.cli.conftest import SOURCE, Cli

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\5" * MIB)
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(tmp_path: Path, image: Path, number: signal.Signals) -> None:
    socket = tmp_path / "nbd.sock"
    path = os.pathsep.join([str(SOURCE), *sys.path])
    words = ["image", "serve", "-f", "raw", "-k", str(socket), "-x", "disk", str(image)]
    with subprocess.Popen(
        [sys.executable, "-m", "bimetal", *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address == f"nbd+unix:///disk?socket={socket}"
        with closing(open_disk(address)) as disk:
            disk.write(512, b"\6" * 512)
            assert disk.read(0, 1024) == b"\5" * 512 + b"\6" * 512
            server.send_signal(number)
            out, err = server.communicate()
    assert (out, err) == ("", "")
    assert server.returncode == -number
    assert not socket.exists()
    assert image.read_bytes()[:1024] == b"\5" * 512 + b"\6" * 512


def test_what_cannot_be_served_is_told(cli: Cli, tmp_path: Path, image: Path) -> None:
    (tmp_path / "file").touch()
    told = cli("image", "serve", "-k", str(tmp_path / "file"), str(image))
    assert (told.code, "cannot listen" in told.err) == (69, True)
    assert cli("image", "serve", str(tmp_path / "gone")).code == 66
    assert cli("image", "serve", "-e", "0", str(image)).code == 64
