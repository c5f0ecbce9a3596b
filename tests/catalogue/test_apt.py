"""Apt with a state of its own, against stand-ins for its programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.catalogue.apt import Apt, find_keyring, find_mirror
from bimetal.catalogue.payload import VERSIONED_KERNEL
from bimetal.catalogue.progress import Silent
from tests.catalogue.conftest import FakeHost
from tests.host import need

MIRROR = "http://mirror.example/debian/"


def make(tmp_path: Path) -> Apt:
    return Apt(tmp_path / "apt", MIRROR, find_keyring(), "trixie", "riscv64")


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["http://a/debian/|bookworm|Debian|Debian"], "http://a/debian/"),
        (["http://s/|bookworm|Debian|Debian-Security", "http://b/|sid|Debian|Debian"], "http://b/"),
        (["http://u/|noble|Ubuntu|Ubuntu", "http://c/|trixie|Debian|Debian"], "http://c/"),
    ],
)
def test_the_mirror_of_the_host_is_found(host: FakeHost, rows: list[str], found: str) -> None:
    host.targets(*rows)
    assert find_mirror() == found


def test_a_mirror_is_found_before_there_are_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need("apt-get")
    sources = [
        "deb http://other/ noble main",
        "deb http://x/debian-security trixie main",
        "deb http://tools/debian trixie stable",
        "deb http://y/debian stable main",
    ]
    (tmp_path / "sources.list").write_text("\n".join(sources) + "\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\n'
        f'Dir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::lists "{tmp_path}/lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.delenv("BIMETAL_MIRROR", raising=False)
    assert find_mirror() == "http://y/debian/"


def test_a_mirror_may_be_named(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIMETAL_MIRROR", "http://mine/")
    assert find_mirror() == "http://mine/"
    assert host.calls() == []


def test_a_host_without_debian_is_told_what_to_do(host: FakeHost) -> None:
    host.targets("http://u/|noble|Ubuntu|Ubuntu", "garbage")
    with pytest.raises(BimetalError, match="BIMETAL_MIRROR") as caught:
        find_mirror()
    assert caught.value.exit_code == ExitCode.UNAVAILABLE


def test_a_host_without_apt_is_told_what_to_do(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BimetalError, match="--kernel and --initrd"):
        find_mirror()
    with pytest.raises(BimetalError, match="no apt-get"):
        make(tmp_path).update(Silent())


def test_the_state_is_apart_from_the_hosts(host: FakeHost, tmp_path: Path) -> None:
    apt = make(tmp_path)
    config = (apt.folder / "apt.conf").read_text()
    for directory in ("State", "Cache", "Etc::sourcelist"):
        assert f'Dir::{directory} "{apt.folder}' in config
    source = (apt.folder / "sources.list").read_text()
    assert source.startswith("deb [signed-by=")
    assert source.endswith(f"arch=riscv64] {MIRROR} trixie main\n")


def test_a_meta_package_leads_to_the_kernel_of_the_day(host: FakeHost, tmp_path: Path) -> None:
    host.add("linux-image-riscv64", "7.2-1", {}, ["linux-image-7.2-riscv64 (= 7.2-1)"])
    needs = ["kmod", "linux-binary-7.2-riscv64 (= 7.2-1)", "dracut | initramfs-tools (>= 0.1)"]
    host.add("linux-image-7.2-riscv64", "7.2-1", {}, needs)
    host.add("linux-binary-7.2-riscv64", "7.2-1", {})
    packages = make(tmp_path).packages(["linux-image-riscv64"], VERSIONED_KERNEL)
    assert [package.name for package in packages] == [
        "linux-image-riscv64",
        "linux-image-7.2-riscv64",
        "linux-binary-7.2-riscv64",
    ]


def test_a_package_that_is_not_there_is_named(host: FakeHost, tmp_path: Path) -> None:
    host.add("a", "1", {})
    with pytest.raises(BimetalError, match="no package missing"):
        make(tmp_path).packages(["a", "missing"], VERSIONED_KERNEL)


def test_a_download_is_not_repeated(host: FakeHost, tmp_path: Path) -> None:
    host.add("a", "1", {"x": b"1"})
    host.add("b", "2", {"y": b"2"})
    apt = make(tmp_path)
    packages = apt.packages(["a", "b"], VERSIONED_KERNEL)
    apt.download(packages[:1], Silent())
    files = apt.download(packages, Silent())
    assert [file.name for file in files] == ["a_1_riscv64.deb", "b_2_riscv64.deb"]
    assert all(file.exists() for file in files)
    assert [call for call in host.calls() if "download" in call] == [
        "apt-get download a=1",
        "apt-get download b=2",
    ]
    apt.discard(files)
    assert not any(file.exists() for file in files)


def test_a_failure_says_what_apt_said(host: FakeHost, tmp_path: Path) -> None:
    host.fail("W: bad weather\nE: Could not resolve 'mirror.example'")
    with pytest.raises(BimetalError, match=r"could not be fetched from .*Could not resolve") as e:
        make(tmp_path).update(Silent())
    assert "check the network" in e.value.remedy
    assert "--kernel" in e.value.remedy


@pytest.mark.parametrize(
    "message",
    [
        "E: Failed to fetch http://x/In  Error writing - write (28: No space left on device)",
        "E: You don't have enough free space in /c/archives/.",
        "E: Write error - write (122: Disk quota exceeded)",
    ],
)
def test_a_full_disk_is_no_matter_of_the_network(
    host: FakeHost, tmp_path: Path, message: str
) -> None:
    host.fail(message)
    with pytest.raises(BimetalError, match=r"the disk with the cache folder .* is full") as caught:
        make(tmp_path).update(Silent())
    assert "network" not in caught.value.remedy
    assert "XDG_CACHE_HOME" in caught.value.remedy


def test_keys_that_are_too_old_are_no_matter_of_the_network(host: FakeHost, tmp_path: Path) -> None:
    host.fail("W: GPG error: http://x sid InRelease: NO_PUBKEY 1234\nE: x is not signed.")
    with pytest.raises(BimetalError, match="could not be fetched") as caught:
        make(tmp_path).update(Silent())
    assert "network" not in caught.value.remedy
    assert "debian-archive-keyring" in caught.value.remedy


def test_progress_follows_apts_status(host: FakeHost, tmp_path: Path) -> None:
    seen: list[float] = []

    class Watch(Silent):
        def fraction(self, done: float) -> None:
            seen.append(done)

    make(tmp_path).update(Watch())
    assert seen == [0.5]
