"""From a guest's name to its files: made once, found again, made anew when outdated."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.catalogue import GUESTS, Payload, cache_folder, cached, fetch
from tests.catalogue.conftest import FakeHost
from tests.catalogue.test_newc import parse

NAME = "debian-riscv64"


@pytest.fixture
def debian(host: FakeHost) -> FakeHost:
    """A host whose mirror has what the guest is made of."""
    host.add("busybox-static", "1.37", {"usr/bin/busybox": b"busybox"})
    host.add("linux-image-riscv64", "6.12-1", {}, ["linux-image-6.12-riscv64"])
    host.add("linux-image-6.12-riscv64", "6.12-1", {"boot/vmlinux-6.12": b"kernel 6.12"})
    return host


def kernel(payload: Payload) -> Path:
    """The kernel of a guest that has one."""
    assert payload.kernel is not None
    return payload.kernel


def link() -> Path:
    """What leads to the guest in the cache."""
    (found,) = (cache_folder() / "guests" / NAME).glob("current*")
    return found


def test_a_guest_is_made_of_packages(debian: FakeHost) -> None:
    payload = fetch(NAME)
    assert kernel(payload).read_bytes() == b"kernel 6.12"
    assert payload.versions["linux-image-6.12-riscv64"] == "6.12-1"
    assert payload.bios is None
    assert (payload.board, payload.append) == ("riscv-virt", "console=ttyS0")
    assert payload.initrd is not None
    files = parse(payload.initrd.read_bytes())
    assert files["bin/busybox"] == (0o100755, b"busybox", (0, 0))
    assert files["init"][1].startswith(b"#!/bin/busybox sh\n")
    assert files["dev/console"][2] == (5, 1)


def test_the_second_time_needs_no_network(debian: FakeHost) -> None:
    first = fetch(NAME)
    calls = debian.calls()
    debian.fail("E: no network")
    assert fetch(NAME) == first == cached(GUESTS[NAME])
    assert fetch(GUESTS[NAME]) == first == cached(NAME)
    assert debian.calls() == calls


def test_an_update_takes_the_new_version_and_drops_the_old(debian: FakeHost) -> None:
    old = fetch(NAME)
    debian.add("linux-image-riscv64", "6.13-1", {}, ["linux-image-6.13-riscv64"])
    debian.add("linux-image-6.13-riscv64", "6.13-1", {"boot/vmlinux-6.13": b"kernel 6.13"})
    assert fetch(NAME) == old
    new = fetch(NAME, update=True)
    assert kernel(new).read_bytes() == b"kernel 6.13"
    assert kernel(old).exists(), "which this process may still use"


FETCH = f"""
import sys
from bimetal.catalogue import fetch
print(fetch({NAME!r}).kernel, flush=True)
sys.stdin.read()
"""


def another(*, recipe: str = "") -> subprocess.Popen[str]:
    """Another process that has fetched the guest and uses it until its input ends."""
    other = f"from bimetal.catalogue import guests; guests.INIT += {recipe!r}\n" if recipe else ""
    return subprocess.Popen(
        [sys.executable, "-c", other + FETCH],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kernel_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_an_old_version_is_there_as_long_as_a_process_uses_it(debian: FakeHost) -> None:
    with another() as other:
        old = kernel_of(other)
        debian.add("linux-image-riscv64", "6.13-1", {}, ["linux-image-6.13-riscv64"])
        debian.add("linux-image-6.13-riscv64", "6.13-1", {"boot/vmlinux-6.13": b"kernel 6.13"})
        fetch(NAME, update=True)
        assert old.read_bytes() == b"kernel 6.12"
        other.communicate()
    assert kernel(fetch(NAME, update=True)).read_bytes() == b"kernel 6.13"
    assert not old.exists()


def test_versions_of_bimetal_leave_each_other_what_they_made(debian: FakeHost) -> None:
    mine = fetch(NAME)
    with another(recipe="# differs") as other:
        theirs = kernel_of(other)
        other.communicate()
    assert kernel(mine).exists()
    assert cached(NAME) == mine
    fetch(NAME, update=True)
    assert theirs.exists()
    long_ago = time.time() - 31 * 24 * 3600
    os.utime(theirs.parent, (long_ago, long_ago))
    fetch(NAME, update=True)
    assert not theirs.exists(), "as nobody has used it for a month"
    names = [path.name for path in (cache_folder() / "guests" / NAME).iterdir()]
    assert len(names) == 3


DAMAGES = [
    "shorter", "missing", "manifest", "recipe", "empty", "bit", "initrd bit", "manifest bit",
    "binary manifest", "nested manifest", "folder", "copy",
]  # fmt: skip


def flip(path: Path, place: int) -> None:
    """Change a bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_outdated_is_made_anew(debian: FakeHost, damage: str) -> None:
    payload = fetch(NAME)
    manifest = kernel(payload).parent / "guest.json"
    match damage:
        case "shorter":
            kernel(payload).write_bytes(b"kern")
        case "missing":
            kernel(payload).unlink()
        case "manifest":
            manifest.write_text("{")
        case "recipe":
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "recipe": "old"}))
        case "empty":
            manifest.write_text("[]")
        case "bit":
            flip(kernel(payload), 3)
        case "initrd bit":
            assert payload.initrd is not None
            flip(payload.initrd, -1)
        case "manifest bit":
            flip(manifest, manifest.read_text().index("6.12"))
        case "binary manifest":
            manifest.write_bytes(bytes(range(256)))
        case "nested manifest":
            manifest.write_text("[" * 100_000)
        case "folder":
            shutil.rmtree(kernel(payload).parent)
            kernel(payload).parent.write_text("a file")
        case "copy":
            current = link()
            current.unlink()
            shutil.copytree(kernel(payload).parent, current)
            (current / "guest.json").write_text('{"files": []}')
    assert cached(GUESTS[NAME]) is None
    assert kernel(fetch(NAME)).read_bytes() == b"kernel 6.12"
    assert cached(GUESTS[NAME]) is not None


def test_damage_is_named_where_the_guest_cannot_be_made_anew(debian: FakeHost) -> None:
    flip(kernel(fetch(NAME)), 0)
    debian.fail("E: no network")
    with pytest.raises(BimetalError, match=f"{NAME} in the cache is .* damaged, and .*no network"):
        fetch(NAME)


def test_a_copy_that_did_not_keep_links_is_as_good(debian: FakeHost) -> None:
    payload = fetch(NAME)
    current = link()
    current.unlink()
    kernel(payload).parent.rename(current)
    debian.fail("E: no network")
    assert kernel(fetch(NAME)) == current / "kernel"


def test_nothing_is_left_behind(debian: FakeHost) -> None:
    fetch(NAME)
    (cache_folder() / "guests" / NAME / ".making-killed").mkdir()
    fetch(NAME, update=True)
    names = {path.name for path in (cache_folder() / "guests" / NAME).iterdir()}
    assert names >= {link().name, "lock"}
    assert len(names) == 3
    assert not list(cache_folder().rglob("*.deb"))


def test_a_failed_download_leaves_the_old_guest(debian: FakeHost) -> None:
    old = fetch(NAME)
    debian.fail("E: no network")
    with pytest.raises(BimetalError, match="no network"):
        fetch(NAME, update=True)
    assert fetch(NAME) == old


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("mkdir", errno.EROFS),
        ("write_text", errno.EDQUOT),
        ("write_bytes", errno.ENOSPC),
        ("rename", errno.EIO),
    ],
)
def test_a_disk_that_takes_no_more_is_told_with_its_folder(
    debian: FakeHost, monkeypatch: pytest.MonkeyPatch, step: str, error: int
) -> None:
    old, before = fetch(NAME), tree_of(cache_folder())

    def refused(path: Path, *_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, refused)
        with pytest.raises(BimetalError) as caught:
            fetch(NAME, update=True)
    assert "cache folder" in caught.value.cause
    assert "XDG_CACHE_HOME" in caught.value.remedy
    assert "network" not in caught.value.remedy
    assert fetch(NAME) == old
    assert {path for path in tree_of(cache_folder()) if "guests" in path.parts} == {
        path for path in before if "guests" in path.parts
    }, "and nothing half made lies about"


def tree_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_package_that_is_damaged_is_fetched_anew(debian: FakeHost) -> None:
    (package,) = (debian.folder / "pool").glob("busybox-static_*.deb")
    whole = package.read_bytes()
    package.write_bytes(whole[:-600])
    with pytest.raises(BimetalError, match="cannot be unpacked") as caught:
        fetch(NAME)
    assert "try again" in caught.value.remedy
    package.write_bytes(whole)
    assert kernel(fetch(NAME)).exists()


def test_packages_without_the_expected_file_say_so(debian: FakeHost) -> None:
    debian.add("linux-image-6.12-riscv64", "6.12-2", {"boot/somewhere-else": b""})
    with pytest.raises(BimetalError, match="hold no boot/vmlinu"):
        fetch(NAME)


def test_an_unknown_guest_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(BimetalError, match="did you mean debian-riscv64"):
        GUESTS["debain-riscv64"]
    with pytest.raises(BimetalError, match="did you mean debian-riscv64"):
        cached("debain-riscv64")
    with pytest.raises(BimetalError, match="bimetal guests"):
        GUESTS["zx81"]


def test_every_guest_of_the_catalogue_is_whole() -> None:
    for name, guest in GUESTS.items():
        assert guest.name == name
        assert {"kernel", "bios"} & guest.files.keys()
        assert set(guest.files) <= {"kernel", "initrd", "bios"}
        assert guest.packages
        assert guest.summary
    assert len({guest.recipe for guest in GUESTS.values()}) == len(GUESTS)


def test_the_recipe_changes_with_what_decides_the_files(tmp_path: Path) -> None:
    trixie, sid = GUESTS["debian-riscv64"], GUESTS["debian-sid-riscv64"]
    assert trixie.files == sid.files
    assert trixie.recipe != sid.recipe
