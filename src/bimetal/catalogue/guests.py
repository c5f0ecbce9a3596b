"""The guests that the catalogue knows: packages, and what is made of them. Plain data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import did_you_mean
from bimetal.catalogue.initramfs import DHCP, INIT, BusyboxInitramfs

__all__ = ["GUESTS", "Catalogue", "FileOf", "Guest"]


@dataclass(frozen=True)
class FileOf:
    """A file taken from the packages as it is: the first that matches one of ``patterns``."""

    patterns: tuple[str, ...]

    def __init__(self, *patterns: str):
        object.__setattr__(self, "patterns", patterns)


@dataclass(frozen=True)
class Guest:
    """A guest of the catalogue.

    ``files`` says what is made of the packages, under the names of the machine's options:
    ``kernel``, ``initrd``, ``bios``. ``memory`` is what it needs to come up comfortably;
    ``kernel_format`` is as `Machine` takes it.
    """

    name: str
    summary: str
    architecture: str
    suite: str
    board: str
    packages: tuple[str, ...]
    files: dict[str, FileOf | BusyboxInitramfs]
    append: str = ""
    memory: str = "512M"
    kernel_format: str = "auto"
    download: str = field(default="", compare=False)

    @property
    def recipe(self) -> str:
        """A digest of all that decides what is made; another digest calls for making it anew."""
        said = repr((self.architecture, self.suite, self.packages, sorted(self.files.items())))
        return hashlib.sha256((said + INIT + DHCP).encode()).hexdigest()[:16]


class Catalogue(dict[str, Guest]):
    """Guests by name; `BimetalError` with the nearest names for one that is not there."""

    def __missing__(self, name: str) -> Guest:
        hint = did_you_mean(name, self)
        raise BimetalError(
            f"the catalogue has no guest {name!r}",
            f"{hint} 'bimetal guests' lists them".strip(),
            ExitCode.USAGE,
        )


LINUX = FileOf("boot/vmlinu[xz]-*", "usr/lib/modules/*/vmlinuz")
"""Up to trixie the kernel is in /boot, in later releases it is beside its modules."""

VIRTIO = (
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "virtio_balloon",
    "virtio_scsi",
    "9pnet_virtio",
    "vmw_vsock_virtio_transport",
    "virtio_gpu",
    "virtio_input",
)
USB = ("xhci_pci", "usbhid", "hid_generic", "usb_storage")
# What a SCSI bus, a shared folder and a keyboard need beside the driver of the device that carries
# them.
UPON = ("sd_mod", "sr_mod", "isofs", "9p", "evdev")
# ext4 asks for its checksum by the name of the service, which no table of files knows.
MODULES = (*VIRTIO, *USB, *UPON, "crc32c_generic", "ext4")
BUSYBOX = BusyboxInitramfs(MODULES)
# arm-virt has a power key at its GPIO.
BUSYBOX_ARM = BusyboxInitramfs((*MODULES, "gpio_keys"))
OPENSBI = "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"
INSTALLER = "usr/lib/debian-installer/images/13/{0}/text/debian-installer/{0}/{1}"

GUESTS = Catalogue(
    (guest.name, guest)
    for guest in (
        Guest(
            name="debian-riscv64",
            summary="Debian 13's kernel and a busybox shell",
            architecture="riscv64",
            suite="trixie",
            board="riscv-virt",
            packages=("linux-image-riscv64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="113 MB",
        ),
        Guest(
            name="debian-sid-riscv64",
            summary="Debian unstable's kernel and a busybox shell",
            architecture="riscv64",
            suite="sid",
            board="riscv-virt",
            packages=("linux-image-riscv64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="120 MB",
        ),
        Guest(
            name="debian-installer-riscv64",
            summary="Debian 13's installer in text mode",
            architecture="riscv64",
            suite="trixie",
            board="riscv-virt",
            packages=("debian-installer-13-netboot-riscv64",),
            files={
                "kernel": FileOf(INSTALLER.format("riscv64", "linux")),
                "initrd": FileOf(INSTALLER.format("riscv64", "initrd.gz")),
            },
            append="console=ttyS0 DEBIAN_FRONTEND=text",
            memory="1G",
            download="53 MB",
        ),
        Guest(
            name="opensbi-uboot-riscv64",
            summary="OpenSBI and the U-Boot prompt",
            architecture="riscv64",
            suite="trixie",
            board="riscv-virt",
            packages=("opensbi", "u-boot-qemu"),
            files={
                "bios": FileOf(OPENSBI),
                "kernel": FileOf("usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"),
            },
            kernel_format="raw",
            download="5 MB",
        ),
        Guest(
            name="debian-arm64",
            summary="Debian 13's kernel and a busybox shell",
            architecture="arm64",
            suite="trixie",
            board="arm-virt",
            packages=("linux-image-arm64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX_ARM},
            append="console=ttyAMA0",
            download="100 MB",
        ),
        Guest(
            name="debian-sid-arm64",
            summary="Debian unstable's kernel and a busybox shell",
            architecture="arm64",
            suite="sid",
            board="arm-virt",
            packages=("linux-image-arm64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX_ARM},
            append="console=ttyAMA0",
            download="110 MB",
        ),
        Guest(
            name="debian-installer-arm64",
            summary="Debian 13's installer in text mode",
            architecture="arm64",
            suite="trixie",
            board="arm-virt",
            packages=("debian-installer-13-netboot-arm64",),
            files={
                "kernel": FileOf(INSTALLER.format("arm64", "linux")),
                "initrd": FileOf(INSTALLER.format("arm64", "initrd.gz")),
            },
            append="console=ttyAMA0 DEBIAN_FRONTEND=text",
            memory="1G",
            download="60 MB",
        ),
        Guest(
            name="uboot-arm64",
            summary="the U-Boot prompt",
            architecture="arm64",
            suite="trixie",
            board="arm-virt",
            packages=("u-boot-qemu",),
            files={"bios": FileOf("usr/lib/u-boot/qemu_arm64/u-boot.bin")},
            download="5 MB",
        ),
        Guest(
            name="uefi-arm64",
            summary="EDK II's UEFI and its shell",
            architecture="arm64",
            suite="trixie",
            board="arm-virt",
            packages=("qemu-efi-aarch64",),
            files={"bios": FileOf("usr/share/AAVMF/AAVMF_CODE.no-secboot.fd")},
            download="10 MB",
        ),
        Guest(
            name="debian-amd64",
            summary="Debian 13's kernel and a busybox shell",
            architecture="amd64",
            suite="trixie",
            board="microvm",
            packages=("linux-image-amd64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="109 MB",
        ),
        Guest(
            name="debian-sid-amd64",
            summary="Debian unstable's kernel and a busybox shell",
            architecture="amd64",
            suite="sid",
            board="microvm",
            packages=("linux-image-amd64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="125 MB",
        ),
        Guest(
            name="debian-i386",
            summary="Debian 12's kernel for 32 bits with PAE and a busybox shell",
            architecture="i386",
            suite="bookworm",
            board="microvm",
            packages=("linux-image-686-pae", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="53 MB",
        ),
        Guest(
            name="debian-cloud-amd64",
            summary="Debian 13's cloud kernel and a busybox shell",
            architecture="amd64",
            suite="trixie",
            board="microvm",
            packages=("linux-image-cloud-amd64", "busybox-static"),
            files={"kernel": LINUX, "initrd": BUSYBOX},
            append="console=ttyS0",
            download="35 MB",
        ),
    )
)
