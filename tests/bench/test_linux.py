"""Linux guests of the bench, as both emulators get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import caches, disk
from bench.laps import laps
from bench.linux import Linux, linux
from bench.measure import run
from bench.programs import SOURCES, build_for_linux
from bench.targets import RISCV64
from bimetal import images
from tests.host import programs


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


def test_both_get_the_same_disk_to_write_to() -> None:
    guest = Linux(RISCV64, Path("Image"), Path("initrd"), "console=ttyS0 quiet")
    ours = disk.command(guest, Path("disk.qcow2"), "pci", ["--stats"])
    theirs = disk.command_of_qemu(guest, Path("disk.qcow2"), "pci")
    assert [ours[n + 1] for n, word in enumerate(ours) if word in ("--board", "--disk")] == [
        *("riscv-virt,bus=pci", "disk.qcow2")
    ]
    assert theirs[-6:] == [
        *("-drive", "file=disk.qcow2,format=qcow2,if=none,id=disk"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-global", "virtio-pci.disable-legacy=on"),
    ]


@pytest.mark.boot
@programs(RISCV64.compiler.command)
def test_a_disk_has_what_was_written_to_it(tmp_path: Path) -> None:
    guest = linux(RISCV64, "/bench/disk", build_for_linux("disk", RISCV64, tmp_path))
    image = tmp_path / "disk.qcow2"
    done = disk.fresh(disk.command(guest, image, "mmio", ["--no-background"]), image)
    assert done.code == 0
    assert {name: len(each) for name, each in laps(done).items()} == dict.fromkeys(
        ("write_1m", "read_1m", "read_4k_1", "read_4k_32", "write_4k_1", "write_4k_32"), 2
    )
    content = Path(tmp_path / "disk.raw")
    images.convert([str(image)], str(content), target_format="raw")
    with content.open("rb") as file:
        for block in range(disk.SIZE // 4096):
            assert int.from_bytes(file.read(4096)[:8], "little") == block


def test_a_cache_forgets_what_runs_have_left(tmp_path: Path) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "interpreter").touch()
    cache = caches.Cache(tmp_path / "installed", tmp_path / "cold")
    (cache.path / "region").touch()
    (cache.path / "interpreter").unlink()
    cache.reset()
    assert [path.name for path in cache.path.iterdir()] == ["interpreter"]


@pytest.mark.boot
@pytest.mark.slow
def test_the_shell_script_does_the_same_in_each_lap() -> None:
    done = run(linux(RISCV64, "sh /bench/shell.sh", SOURCES / "shell.sh").ours())
    first, last = laps(done)["shell"]
    assert first.result == last.result
    assert "not found" not in done.output
    assert done.code == 0
