"""Linux guests of the bench, as both emulators get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import caches
from bench.laps import laps
from bench.linux import Linux, linux
from bench.measure import run
from bench.programs import SOURCES
from bench.targets import RISCV64


def test_both_get_the_same_guest_and_a_disk_that_stays_as_it_is() -> None:
    guest = Linux(RISCV64, Path("Image"), Path("initrd"), "console=ttyS0 quiet", Path("root.img"))
    ours, theirs = guest.ours(["--stats"]), guest.theirs()
    assert ours[-13:] == [
        *("--stats", "--cpus", "1", "--kernel", "Image", "--initrd", "initrd"),
        *("--disk", "root.img,snapshot", "--net", "none", "--append", "console=ttyS0 quiet"),
    ]
    assert theirs[-14:] == [
        *("-smp", "1", "-kernel", "Image", "-initrd", "initrd"),
        *("-drive", "file=root.img,format=raw,if=none,id=root,snapshot=on"),
        *("-device", "virtio-blk-device,drive=root", "-nic", "none"),
        *("-append", "console=ttyS0 quiet"),
    ]


def test_a_cache_forgets_what_runs_have_left(tmp_path: Path) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "interpreter").touch()
    cache = caches.Cache(tmp_path / "installed", tmp_path / "cold")
    (cache.path / "region").touch()
    (cache.path / "interpreter").unlink()
    cache.reset()
    assert [path.name for path in cache.path.iterdir()] == ["interpreter"]


@pytest.mark.boot
def test_the_shell_script_does_the_same_in_each_lap() -> None:
    done = run(linux(RISCV64, "sh /bench/shell.sh", SOURCES / "shell.sh").ours())
    first, last = laps(done)["shell"]
    assert first.result == last.result
    assert "not found" not in done.output
    assert done.code == 0
