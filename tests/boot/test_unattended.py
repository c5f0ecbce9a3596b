"""Debian's installer, which asks nobody: it takes all that it is told, as its own data base tells
of it."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.boot.conftest import Fetch, clean
from tests.boot.debian import serving
from tests.control.homes import Homes, Install
from tests.host import programs

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SUITE = "trixie"
QUESTIONS = (
    "debian-installer/locale",
    "keyboard-configuration/xkb-keymap",
    "netcfg/get_hostname",
    "passwd/username",
    "partman-auto/disk",
    "grub-installer/force-efi-extra-removable",
)
POSTINST = """#!/bin/sh
. /usr/share/debconf/confmodule
for each in {questions}; do
    db_get $each
    echo "told $each: $RET." > /dev/console
done
ls -d /sys/firmware/efi > /dev/console
echo "end of told" > /dev/console
sync
poweroff -f
"""
"""A part of the installer, which says what the others would be told (debconf-devel(7))."""


def make_mirror(folder: Path, arch: str) -> None:
    """A mirror from which an installer gets one part (Debian's Installer, "Internals")."""
    build = folder / "build"
    (build / "DEBIAN").mkdir(parents=True)
    control = (
        f"Package: teller\nVersion: 1\nArchitecture: {arch}\nSection: debian-installer\n"
        "Priority: standard\nMaintainer: Nobody <nobody@example.org>\nDescription: Tells\n"
    )
    (build / "DEBIAN" / "control").write_text(control)
    postinst = build / "DEBIAN" / "postinst"
    postinst.write_text(POSTINST.format(questions=" ".join(QUESTIONS)))
    postinst.chmod(0o755)
    (folder / "pool").mkdir()
    part = folder / "pool" / "teller.udeb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", build, part],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    data = part.read_bytes()
    digests = f"MD5sum: {hashlib.md5(data).hexdigest()}\nSHA256: {hashlib.sha256(data).hexdigest()}"
    listed = f"{control}Filename: pool/teller.udeb\nSize: {len(data)}\n{digests}\n\n".encode()
    index = folder / "dists" / SUITE / "main" / "debian-installer" / f"binary-{arch}"
    index.mkdir(parents=True)
    rows = []
    for name, content in (("Packages", listed), ("Packages.gz", gzip.compress(listed, mtime=0))):
        (index / name).write_bytes(content)
        place = f"main/debian-installer/binary-{arch}/{name}"
        rows.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {place}\n")
    systems = folder / "dists" / SUITE / "main" / f"binary-{arch}"
    systems.mkdir()
    (systems / "Release").write_text(f"Archive: stable\nComponent: main\nArchitecture: {arch}\n")
    (folder / "dists" / SUITE / "Release").write_text(
        f"Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: {SUITE}\nVersion: 13.0\n"
        f"Architectures: {arch}\nComponents: main\nSHA256:\n{''.join(rows)}"
    )


@programs("dpkg-deb")
@pytest.mark.parametrize(("arch", "isa"), [("arm64", "aarch64"), ("riscv64", "riscv64")])
def test_the_installer_takes_all_answers_and_asks_nothing(
    arch: str, isa: str, homes: Homes, install: Install, fetched: Fetch, tmp_path: Path
) -> None:
    debian = fetched(f"debian-installer-{arch}")
    mirror = tmp_path / "mirror"
    make_mirror(mirror, arch)
    tree = mirror / "dists" / SUITE / "main" / f"installer-{arch}"
    tree.mkdir()
    (tree / "linux").symlink_to(str(debian.kernel))
    (tree / "initrd.gz").symlink_to(str(debian.initrd))
    for name in ("root", "user"):
        (tmp_path / name).write_text(f"of {name}\n")
    told = tmp_path / "told"
    with serving(mirror) as port:
        done = install(
            "--name", "crab", "--arch", isa, "--memory", "1024", "--disk", "size=8",
            "--location", f"http://127.0.0.1:{port}/dists/{SUITE}/main/installer-{arch}/",
            "--osinfo", "debian12", "--virt-type", "qemu", "--noautoconsole", "--noreboot",
            "--serial", f"file,path={told}", "--wait", "15", "--unattended",
            f"profile=jeos,user-login=fly,user-password-file={tmp_path / 'user'},"
            f"admin-password-file={tmp_path / 'root'}",
            # The guest knows this host by another address, and the mirror has no signature, and no
            # modules of the kernel.
            "--extra-args", f"mirror/http/hostname=10.0.2.2:{port} mirror/http/directory=/ "
            "debian-installer/allow_unauthenticated=true anna/no_kernel_modules=true "
            "DEBIAN_FRONTEND=text",
        )  # fmt: skip
    assert done.code == 0, done.err
    text = clean(told.read_text(errors="replace"))
    assert "Prompt:" not in text
    _, _, answers = text.partition("told ")
    for line in (
        "debian-installer/locale: en_US.UTF-8.",
        "keyboard-configuration/xkb-keymap: us.",
        "netcfg/get_hostname: crab.",
        "passwd/username: fly.",
        "partman-auto/disk: /dev/vda.",
        "grub-installer/force-efi-extra-removable: true.",
        "end of told",
    ):
        assert line in answers
    assert ("/sys/firmware/efi" in answers) is (isa == "aarch64")
