"""Installations that ask nobody: answers for Debian's installer, and what is injected into its
initial file system."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
from pathlib import Path

import pycdlib
import pytest

from bimetal.base.errors import BimetalError
from bimetal.control.installing.media import inject
from bimetal.control.installing.osinfo import System
from bimetal.control.installing.planning import Wanted, plan
from bimetal.control.installing.unattended import answers_for
from tests.control.homes import Homes, Install
from tests.host import programs

DEBIAN = System("debian12")
BANK = 32 << 20
"""Bytes of a flash bank of the board."""

TREE = "http://mirror.example.org:8080/some/debian/dists/bookworm/main/installer-arm64/"


@pytest.fixture
def secrets(tmp_path: Path) -> tuple[Path, Path]:
    """Files with the passwords of root and of the user."""
    files = tmp_path / "root", tmp_path / "user"
    for file, text in zip(files, ("of root\nnot this\n", "Grüße # 'x'\r\n"), strict=True):
        file.write_text(text, newline="")
    return files


def archive(folder: Path) -> bytes:
    """An initial file system of somebody else's making, as distributions pack it: its length is no
    multiple of four."""
    folder.mkdir()
    (folder / "init").write_text("first")
    made = subprocess.run(
        ["cpio", "--create", "--quiet", "--format=newc"], cwd=folder, input=b"init",
        capture_output=True, check=True,
    )  # fmt: skip
    packed = gzip.compress(made.stdout, mtime=0)
    return packed + bytes(-(len(packed) + 3) % 4)


@programs("debconf-set-selections")
@pytest.mark.parametrize("profile", ["jeos", "desktop"])
def test_answers_are_such_as_the_installer_reads(
    profile: str, secrets: tuple[Path, Path], tmp_path: Path
) -> None:
    root, user = secrets
    words = f"profile={profile},user-login=Fly,admin-password-file={root},user-password-file={user}"
    files, notes = answers_for(f"{words},product-key=K", DEBIAN, "Krabbe 1", "/dev/sda", TREE)
    (tmp_path / "preseed.cfg").write_bytes(files["preseed.cfg"])
    checked = subprocess.run(
        ["debconf-set-selections", "--checkonly", str(tmp_path / "preseed.cfg")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    lines = files["preseed.cfg"].decode().splitlines()
    for line in (
        "d-i netcfg/hostname string Krabbe-1",
        "d-i mirror/http/hostname string mirror.example.org:8080",
        "d-i mirror/http/directory string /some/debian",
        "d-i passwd/root-password password of root",
        "d-i passwd/username string fly",
        "d-i passwd/user-password password Grüße # 'x'",
        "d-i partman-auto/disk string /dev/sda",
    ):
        assert line in lines
    assert notes == ["--unattended product-key"]


def test_answers_without_a_user(secrets: tuple[Path, Path]) -> None:
    files, _ = answers_for(
        f"profile=jeos,user-login=fly,admin-password-file={secrets[0]}", DEBIAN, "x", "/dev/vda",
        "/srv/tree",
    )  # fmt: skip
    text = files["preseed.cfg"].decode()
    assert "d-i passwd/make-user boolean false\n" in text
    assert "username" not in text
    assert "d-i mirror/http/hostname string deb.debian.org\n" in text


@programs("cpio")
def test_files_are_injected(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd.gz"
    initrd.write_bytes(archive(tmp_path / "first"))
    made = Path(inject(str(initrd), {"a.cfg": b"of ours"}, tmp_path / "own"))
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert made.read_bytes().startswith(initrd.read_bytes())
    behind = made.read_bytes()[initrd.stat().st_size :].lstrip(b"\0")
    assert (made.stat().st_size - len(behind)) % 4 == 0
    found = subprocess.run(
        ["cpio", "--extract", "--to-stdout", "--quiet", "a.cfg"], input=behind,
        capture_output=True, check=True,
    )  # fmt: skip
    assert found.stdout == b"of ours"


def test_an_installation_that_asks_nobody(
    homes: Homes, install: Install, secrets: tuple[Path, Path], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "linux").write_bytes(homes.idle.read_bytes())
    (tree / "initrd.gz").write_bytes(b"initrd")
    (tmp_path / "late.sh").write_text("true")
    words = [
        "--name", "crab", "--arch", "riscv64", "--memory", "64", "--disk", "size=0.01",
        "--location", str(tree), "--extra-args", "console=ttyS0", "--osinfo", "debian12",
        "--boot", f"loader={homes.echo}", "--virt-type", "qemu", "--noautoconsole",
        "--unattended", f"profile=jeos,admin-password-file={secrets[0]}",
        "--initrd-inject", str(tmp_path / "late.sh"),
    ]  # fmt: skip
    done = install(*words)
    assert done.code == 0, done.err
    first = homes.machines.definition("crab")
    assert first.append == "priority=critical console=ttyS0"
    assert first.initrd is not None
    injected = Path(first.initrd)
    assert b"preseed.cfg" in injected.read_bytes()
    assert b"late.sh" in injected.read_bytes()
    assert (tree / "initrd.gz").read_bytes() == b"initrd"
    homes.kill("crab")
    homes.say("undefine", "crab", "--remove-all-storage")
    assert not injected.exists()
    (tree / "linux").write_bytes(homes.off.read_bytes())
    done = install(*words, "--wait")
    assert "Restarting guest." in done.out, done.err
    assert not injected.exists()


def test_media_have_their_kernel_started_with_answers(
    homes: Homes, secrets: tuple[Path, Path], tmp_path: Path
) -> None:
    media = tmp_path / "x.iso"
    image = pycdlib.PyCdlib()
    image.new(joliet=3, interchange_level=3)
    for name in ("linux", "initrd"):
        image.add_fp(io.BytesIO(b"data"), 4, f"/{name.upper()}.;1", joliet_path=f"/{name}")
    image.write(str(media))
    image.close()
    given = {"arch": "riscv64", "boot": f"loader={homes.echo}", "disks": ("size=1,bus=scsi",)}
    answers = f"profile=jeos,admin-password-file={secrets[0]}"
    for where in ({"cdrom": str(media)}, {"location": str(media)}):
        wanted = Wanted("crab", system="debian12", unattended=answers, **given, **where)  # type: ignore[arg-type]
        made = plan(wanted, tmp_path)
        assert made.location == str(media)
        assert [disk.part.path for disk in made.disks if disk.part.cdrom] == [str(media)]
        assert b"partman-auto/disk string /dev/sda\n" in made.injected["preseed.cfg"]


def test_uefi_starts_the_installer_where_the_machine_has_it(
    homes: Homes, install: Install, tmp_path: Path
) -> None:
    for name in ("linux", "initrd.gz", "code", "variables"):
        (tmp_path / name).write_bytes(homes.idle.read_bytes())
    os.truncate(tmp_path / "variables", BANK)
    done = install(
        "--name", "crab", "--arch", "riscv64", "--memory", "64", "--disk", "size=0.01",
        "--location", str(tmp_path), "--virt-type", "qemu", "--noautoconsole", "--boot",
        f"loader={tmp_path / 'code'},nvram.template={tmp_path / 'variables'}",
    )  # fmt: skip
    assert done.code == 0, done.err
    first = homes.machines.definition("crab")
    assert first.kernel == str(tmp_path / "linux")
    assert first.flash == homes.machines.definition("crab", inactive=True).flash != ()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--import --unattended", "--unattended needs an installer"),
        ("--location . --unattended --osinfo ubuntu22.04", "'ubuntu22.04' does not support"),
        ("--location . --unattended", "'generic' does not support"),
        ("--location . --unattended --osinfo debian12", "profile=desktop needs a user"),
        ("--location . --unattended profile=jeos --osinfo debian12", "needs the admin-password"),
        ("--location . --unattended profile=gnome --osinfo debian12", "'gnome' is not there"),
        ("--location . --unattended colour=red --osinfo debian12", "there is no 'colour'"),
        (
            "--location . --unattended admin-password-file=/missing --osinfo debian12",
            "/missing cannot be read",
        ),
        ("--location . --unattended user-login=root --osinfo debian12", "called 'root'"),
        ("--location . --unattended user-login=0x --osinfo debian12", "called '0x'"),
        # user-setup's reserved-usernames: the installer would ask for another, and wait.
        ("--location . --unattended user-login=Admin --osinfo debian12", "called 'Admin'"),
        ("--location . --unattended user-login=www-data --osinfo debian12", "called 'www-data'"),
        ("--import --initrd-inject x", "--initrd-inject needs an installer's initrd"),
        ("--location . --initrd-inject /missing", "/missing cannot be read"),
    ],
)
def test_what_cannot_be_answered_is_refused(install: Install, words: str, why: str) -> None:
    given = ["--name", "x", "--arch", "riscv64", "--disk", "size=1", "--noautoconsole"]
    outcome = install(*given, *words.split())
    assert outcome.code != 0
    assert why in outcome.err


def test_no_passwords_are_left_of_an_installation_that_cannot_be(
    homes: Homes, install: Install, secrets: tuple[Path, Path], tmp_path: Path
) -> None:
    for name in ("linux", "initrd.gz"):
        (tmp_path / name).write_bytes(homes.idle.read_bytes())
    words = [
        "--name", "crab", "--arch", "riscv64", "--memory", "64", "--virt-type", "qemu",
        "--disk", f"path={tmp_path / 'linux' / 'disk'},size=0.01,format=qcow2",
        "--location", str(tmp_path), "--osinfo", "debian12", "--noautoconsole",
        "--boot", f"loader={homes.echo}",
        "--unattended", f"profile=jeos,admin-password-file={secrets[0]}",
    ]  # fmt: skip
    done = install(*words)
    assert done.code != 0
    assert "storage cannot be made" in done.err
    assert not [path for path in homes.places.state("crab").rglob("*") if path.is_file()]


@pytest.mark.parametrize("text", ["", " x\n", "x\\\n", "\x1b[2J\n"])
def test_passwords_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(text)
    with pytest.raises(BimetalError, match="is no password"):
        answers_for(
            f"profile=jeos,admin-password-file={tmp_path / 'secret'}", DEBIAN, "x", "/dev/vda", ""
        )


def test_nobody_is_called_as_root_is(
    monkeypatch: pytest.MonkeyPatch, secrets: tuple[Path, Path]
) -> None:
    root, user = secrets
    words = f"profile=jeos,admin-password-file={root},user-password-file={user}"
    for name, expected in (("root", False), ("fly", True)):
        monkeypatch.setenv("LOGNAME", name)
        text = answers_for(words, DEBIAN, "x", "/dev/vda", "")[0]["preseed.cfg"].decode()
        assert ("d-i passwd/username string fly\n" in text) is expected
    assert os.environ["LOGNAME"] == "fly"
