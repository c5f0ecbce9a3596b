"""Programs of other people that tests need, and the packages of Debian that have them.

A test that needs one says so, and is skipped by name where it is not installed::

    @programs("qemu-img")
    def test_...

`.ci/run` installs them all and passes ``--complete``: then a test whose program is missing fails,
and so does one that cannot fetch a guest.
"""

from __future__ import annotations

import shutil

import pytest

__all__ = ["PACKAGES", "have", "lacking", "need", "program_path", "programs", "set_complete"]

PACKAGES = {
    "Xvfb": "xvfb",
    "aarch64-linux-gnu-as": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-ld": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-objdump": "gcc-aarch64-linux-gnu",
    "apt-get": "apt",
    "bzip2": "bzip2",
    "cc": "gcc",
    "chromium": "chromium",
    "cpio": "cpio",
    "dbus-run-session": "dbus",
    "debconf-set-selections": "debconf",
    "dmidecode": "dmidecode",
    "dpkg-deb": "dpkg",
    "dtc": "device-tree-compiler",
    "fdtoverlay": "device-tree-compiler",
    "gdb-multiarch": "gdb-multiarch",
    "gzip": "gzip",
    "iasl": "acpica-tools",
    "import": "imagemagick",
    "ip": "iproute2",
    "iperf3": "iperf3",
    "libvirtd": "libvirt-daemon-system",
    "losetup": "mount",
    "lz4": "lz4",
    "lzma": "xz-utils",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mkimage": "u-boot-tools",
    "mmd": "mtools",
    "nbdcopy": "libnbd-bin",
    "nbdinfo": "libnbd-bin",
    "npm": "npm",
    "nsenter": "util-linux",
    "objdump": "binutils",
    "passt": "passt",
    "systemd-analyze": "systemd",
    "systemd-escape": "systemd",
    "virsh": "libvirt-clients",
    "perl": "perl",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-ppc64-static": "qemu-user-static",
    "qemu-ppc64le-static": "qemu-user-static",
    "qemu-riscv64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-x86_64-static": "qemu-user-static",
    "riscv64-linux-gnu-ar": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-as": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-gcc": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-ld": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-nm": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-objdump": "gcc-riscv64-linux-gnu",
    "riscv64-linux-gnu-readelf": "gcc-riscv64-linux-gnu",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "tcpdump": "tcpdump",
    "unshare": "util-linux",
    "unzip": "unzip",
    "virt-install": "virtinst",
    "virt-manager": "virt-manager",
    "virt-xml-validate": "libvirt-clients",
    "xz": "xz-utils",
    "zstd": "zstd",
}
"""The package that brings each program, itself or by what it depends on."""

_complete = False


def set_complete(complete: bool) -> None:
    """Whether what is missing is a failure: the option ``--complete``."""
    global _complete
    _complete = complete


def _find(name: str) -> str | None:
    """Where a program is. Other systems than Debian call static programs as others."""
    return shutil.which(name) or shutil.which(name.removesuffix("-static"))


def program_path(name: str) -> str:
    """Where a program is; its mere name if it is not installed."""
    return _find(name) or name


def programs(*names: str) -> pytest.MarkDecorator:
    """A mark for tests that need programs."""
    assert PACKAGES.keys() >= set(names), f"name the packages of {names} in {__file__}"
    return pytest.mark.programs(*names)


def need(*names: str) -> None:
    """Skip the test that runs unless programs are installed."""
    for name in names:
        if _find(name) is None:
            lacking(f"{name} is not installed (Debian: {PACKAGES[name]})")


def have(name: str) -> bool:
    """Whether a program is installed, for tests that check more with it than without."""
    if _find(name) is None and _complete:
        need(name)
    return _find(name) is not None


def lacking(what: str) -> None:
    """Skip the test that runs, as the host lacks what `.ci/run` provides."""
    if _complete:
        pytest.fail(f"{what}, and --complete was given")
    pytest.skip(what)
