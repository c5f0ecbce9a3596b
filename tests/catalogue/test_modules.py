"""Kernel modules: what needs what, read from the modules themselves."""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.catalogue.initramfs import BusyboxInitramfs
from bimetal.catalogue.modules import alias_table, closure, dependency_table
from tests.catalogue.test_newc import parse


def module_image(*info: str) -> bytes:
    """An ELF file with nothing but a section ``.modinfo``."""
    modinfo = b"".join(item.encode() + b"\0" for item in info)
    names = b"\0.modinfo\0.shstrtab\0"
    data_at = 64
    names_at = data_at + len(modinfo)
    table_at = names_at + len(names)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 1, 243, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 3, 2)
    row = struct.Struct("<IIQQQQIIQQ")
    table = bytes(row.size)
    table += row.pack(1, 1, 0, 0, data_at, len(modinfo), 0, 0, 1, 0)
    table += row.pack(10, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    return header + modinfo + names + table


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """ext4 needs jbd2 and mbcache, and asks for crc32c; jbd2 has a hyphenated neighbour."""
    files: list[tuple[str, Callable[[bytes], bytes], tuple[str, ...]]] = [
        (
            "fs/ext4/ext4.ko.xz",
            lzma.compress,
            ("depends=mbcache,jbd2", "softdep=pre: crc32c", "alias=fs-ext4", "alias=ext3"),
        ),
        ("fs/jbd2/jbd2.ko", bytes, ("depends=",)),
        ("fs/mbcache.ko.gz", gzip.compress, ("depends=",)),
        ("drivers/char/hw_random/virtio-rng.ko", bytes, ("alias=virtio:d00000004v*",)),
        ("a.ko", bytes, ("depends=b",)),
        ("b.ko", bytes, ("softdep=pre: a",)),
        ("gpu.ko", bytes, ("depends=drm,helper",)),
        ("helper.ko", bytes, ("depends=drm",)),
        ("drm.ko", bytes, ("depends=",)),
        ("odd.ko.zst", bytes, ()),
    ]
    for name, squeeze, info in files:
        path = tmp_path / "kernel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(squeeze(module_image("license=GPL", *info)))
    return tmp_path


def test_needed_modules_come_first(tree: Path) -> None:
    names = [module.name for module in closure(tree, ["ext4"])]
    assert names == ["mbcache", "jbd2", "ext4"]  # crc32c has no file: it is built in


def test_a_name_may_be_written_with_either_stroke(tree: Path) -> None:
    (module,) = closure(tree, ["virtio_rng"])
    assert closure(tree, ["virtio-rng"]) == [module]
    assert module.file == "virtio_rng.ko"
    assert module.image == module_image("license=GPL", "alias=virtio:d00000004v*")


def test_the_tables_that_modprobe_reads(tree: Path) -> None:
    modules = closure(tree, ["ext4", "virtio_rng"])
    assert dependency_table(modules) == (
        "mbcache.ko:\njbd2.ko:\next4.ko: jbd2.ko mbcache.ko\nvirtio_rng.ko:\n"
    )
    assert alias_table(modules) == (
        "alias fs-ext4 ext4\nalias ext3 ext4\nalias virtio:d00000004v* virtio_rng\n"
    )


def test_what_is_needed_by_what_is_needed_is_loaded_first(tree: Path) -> None:
    """That is the last one: modprobe begins at the end."""
    lines = dependency_table(closure(tree, ["gpu"])).splitlines()
    assert "gpu.ko: helper.ko drm.ko" in lines


def test_modules_that_need_each_other_end_somewhere(tree: Path) -> None:
    modules = closure(tree, ["a"])
    assert dependency_table(modules) == "b.ko: a.ko\na.ko: b.ko\n"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("bad.ko", b"no ELF file at all", "no ELF file"),
        ("bad.ko.xz", b"\xfd7zXZ\0damaged", "damaged"),
        ("bad.ko.gz", gzip.compress(b"cut short", mtime=0)[:-6], "damaged"),
        ("bad.ko.zst", b"", "compressed in a way"),
    ],
)
def test_a_damaged_module_is_an_error_with_a_name(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BimetalError, match=says) as caught:
        closure(tmp_path, ["bad"])
    assert name in caught.value.cause


@pytest.mark.parametrize("home", ["lib/modules", "usr/lib/modules"])
def test_an_initial_file_system_has_modules_wherever_packages_have_them(
    tree: Path, tmp_path: Path, home: str
) -> None:
    """Debian moved them when / and /usr became one, with trixie."""
    packages = tmp_path / "packages"
    (packages / home).mkdir(parents=True)
    (tree / "kernel").rename(packages / home / "6.1-686")
    (packages / "bin").mkdir(exist_ok=True)
    (packages / "bin" / "busybox").write_bytes(b"busybox")
    files = parse(BusyboxInitramfs(("virtio_rng",)).make(packages))
    assert files["lib/modules/6.1-686/modules.dep"][1] == b"virtio_rng.ko:\n"
    assert "lib/modules/6.1-686/virtio_rng.ko" in files
