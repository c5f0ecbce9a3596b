"""What a person gives wrongly is answered with cause and remedy, never with a traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal import ExitCode
from bimetal.cli.entry import main
from tests.boot.bare import END, write_program
from tests.boot.conftest import SOURCE, Fetch


def run(*words: str, cwd: Path) -> tuple[int, str]:
    """``bimetal run`` in a process without a terminal; exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "bimetal", "run", "--serial", "none", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of good files and bad ones; ``good.elf`` switches off at once."""
    write_program(tmp_path / "good.elf", *END)
    write_program(tmp_path / "x86.elf", *END, machine=62)
    whole = (tmp_path / "good.elf").read_bytes()
    (tmp_path / "cut.elf").write_bytes(whole[:-4])
    (tmp_path / "header.elf").write_bytes(whole[:40])
    (tmp_path / "empty").touch()
    (tmp_path / "big").write_bytes(b"x")
    os.truncate(tmp_path / "big", 64 << 20)
    (tmp_path / "notes.txt").write_text("Boot this.\n")
    (tmp_path / "program.bin").write_bytes(whole[120:])
    (tmp_path / "odd.img").write_bytes(bytes(700))
    (tmp_path / "disk.vmdk").write_bytes(b"KDMV".ljust(4096, b"\0"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    return tmp_path


def test_the_good_file_is_good(files: Path) -> None:
    code, said = run("--bios", "none", "--kernel", "good.elf", cwd=files)
    assert (code, said.count("\n")) == (0, 1), said


def test_a_raw_binary_runs_if_it_is_called_one(files: Path) -> None:
    raw = ("--kernel", "program.bin", "--kernel-format", "raw")
    code, said = run("--bios", "none", *raw, cwd=files)
    assert (code, said.count("\n")) == (0, 1), said


BAD = [
    ("--kernel missing", ExitCode.NO_INPUT, "missing"),
    ("--kernel folder", ExitCode.NO_INPUT, "folder"),
    ("--kernel empty", ExitCode.DATA, "empty"),
    ("--kernel notes.txt", ExitCode.DATA, "notes.txt is text"),
    ("--kernel program.bin", ExitCode.DATA, "--kernel-format raw"),
    ("--kernel empty --kernel-format raw", ExitCode.DATA, "empty"),
    ("--kernel cut.elf", ExitCode.DATA, "cut.elf"),
    ("--kernel header.elf", ExitCode.DATA, "header.elf"),
    ("--kernel x86.elf", ExitCode.DATA, "x86.elf"),
    ("--kernel good.elf --initrd missing", ExitCode.NO_INPUT, "missing"),
    ("--kernel good.elf --initrd folder", ExitCode.NO_INPUT, "folder"),
    ("--kernel good.elf --initrd big --memory 32M", None, "memory"),
    ("--bios missing", ExitCode.NO_INPUT, "missing"),
    ("--bios notes.txt", ExitCode.DATA, "notes.txt is text"),
    ("--bios empty", ExitCode.DATA, "empty"),
    ("--bios none", ExitCode.USAGE, "kernel"),
    ("--kernel good.elf --memory 4K", ExitCode.USAGE, "memory"),
    ("--kernel good.elf --memory plenty", ExitCode.USAGE, "plenty"),
    ("--kernel good.elf --memory 100T", ExitCode.USAGE, "memory"),
    ("--kernel good.elf --memory 900T", ExitCode.USAGE, "memory"),
    ("--kernel good.elf --memory 536870912", ExitCode.USAGE, "536870912 bytes are 512 MiB"),
    ("--kernel good.elf --cpus 4000", ExitCode.USAGE, "4000"),
    ("--kernel good.elf --board amiga", ExitCode.USAGE, "amiga"),
    ("--kernel good.elf --accel kvm", ExitCode.UNAVAILABLE, "KVM"),
    ("--kernel good.elf --disk good.elf,format=cow", ExitCode.USAGE, "raw, qcow2"),
    ("--kernel good.elf --disk good.elf,cache=none", ExitCode.USAGE, "format=raw|qcow2"),
    ("--kernel good.elf --disk odd.img", ExitCode.DATA, "truncate -s %512 odd.img"),
    ("--kernel good.elf --disk disk.vmdk", ExitCode.USAGE, "which is only read"),
    ("--kernel good.elf --disk /dev/null", ExitCode.DATA, "a character device"),
    ("--kernel good.elf --disk big --disk big", ExitCode.UNAVAILABLE, "in use"),
    ("--kernel good.elf --disk missing.img", ExitCode.NO_INPUT, "missing.img"),
    ("--kernel good.elf --disk folder", None, "folder"),
    ("--kernel good.elf --disk empty", None, "empty"),
    ("--kernel good.elf --serial nowhere", ExitCode.USAGE, "nowhere"),
    ("--kernel good.elf --serial file:folder", None, "folder"),
    ("--kernel good.elf --serial tcp:here", ExitCode.USAGE, "here"),
    ("--kernel good.elf --net wlan", ExitCode.USAGE, "wlan"),
    ("--kernel good.elf --net user,hostfwd=22", ExitCode.USAGE, "22"),
    ("--kernel good.elf --net user,hostfwd=tcp::USED-:22", ExitCode.UNAVAILABLE, "another port"),
    ("--kernel good.elf --net stream,listen=:USED", ExitCode.UNAVAILABLE, "already in use\n"),
    ("--kernel good.elf --net stream,connect=unix:gone", ExitCode.UNAVAILABLE, "reconnect=1"),
    ("--kernel good.elf --net tap,ifname=lo", ExitCode.UNAVAILABLE, "lo"),
    ("--kernel good.elf --net user,capture=gone/file", ExitCode.UNAVAILABLE, "gone/file"),
    ("--kernel good.elf --share out,tag=work", ExitCode.USAGE, "is a link to /etc"),
    ("--kernel good.elf --share gone,tag=work", ExitCode.NO_INPUT, "gone"),
    ("--kernel good.elf --share notes.txt,tag=work", None, "notes.txt"),
]


@pytest.mark.parametrize(("words", "code", "names"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_answered(
    files: Path,
    words: str,
    code: int | None,
    names: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    others = [] if "--bios" in words else ["--bios", "none"]
    others += [] if "--serial" in words else ["--serial", "none"]
    monkeypatch.chdir(files)
    with socket.create_server(("127.0.0.1", 0)) as line, pytest.raises(SystemExit) as end:
        main(["run", *others, *words.replace("USED", str(line.getsockname()[1])).split()])
    ended, said = end.value.code, capsys.readouterr().err
    assert isinstance(ended, int)
    assert ended == code or (code is None and 0 < ended < 128), said
    assert names in said
    cause, remedy = said.splitlines()[-2:]
    assert re.match(r"bimetal: \S", cause)
    assert remedy.startswith("         ")


@pytest.mark.boot
@pytest.mark.parametrize("part", [0.5, 0.999])
def test_a_truncated_kernel(fetched: Fetch, tmp_path: Path, part: float) -> None:
    kernel = fetched("debian-riscv64").kernel
    assert kernel is not None
    whole = kernel.read_bytes()
    (tmp_path / "Image").write_bytes(whole[: int(len(whole) * part)])
    code, said = run("--kernel", "Image", cwd=tmp_path)
    assert code == ExitCode.DATA
    assert "the kernel Image is damaged" in said


@pytest.mark.boot
def test_a_kernel_with_too_little_memory(fetched: Fetch, tmp_path: Path) -> None:
    guest = fetched("debian-riscv64")
    code, said = run("--kernel", str(guest.kernel), "--memory", "16M", cwd=tmp_path)
    assert 0 < code < 128
    assert "memory" in said
    assert "Traceback" not in said
