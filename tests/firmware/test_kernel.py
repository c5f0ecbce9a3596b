"""Kernels and firmware by their files, packed as they may be, and files that are none."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.kernel import load_firmware, load_kernel, load_raw
from bimetal.firmware.processors import RISCV
from bimetal.firmware.program import Program, Segment
from tests.firmware.elves import RAM, Part, elf, room
from tests.firmware.images import image, uimage, zboot
from tests.firmware.test_x86 import bzimage
from tests.host import need, programs

HOME = RAM + 0x20_0000
ROOM = room(16 << 20)
FLAT = b"\x6f\0\0\0" * 8


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return Write(tmp_path)


class Write:
    """Writes a file and loads it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, data: bytes) -> str:
        path = self.folder / "file"
        path.write_bytes(data)
        return str(path)

    def kernel(self, data: bytes) -> Program:
        return load_kernel(self(data), RISCV, ROOM, HOME).program

    def refused(self, data: bytes) -> BimetalError:
        with pytest.raises(BimetalError) as caught:
            load_kernel(self(data), RISCV, ROOM, HOME)
        assert caught.value.remedy
        assert caught.value.cause.startswith(f"the kernel {self.folder}/file ")
        return caught.value


PACKED = {
    "plain": image(),
    "gzip": gzip.compress(image()),
    "bzip2": bz2.compress(image()),
    "xz": lzma.compress(image()),
    "lzma": lzma.compress(image(), lzma.FORMAT_ALONE),
    "zboot": zboot(gzip.compress(image())),
    "zboot with xz": zboot(lzma.compress(image()), b"xzkern"),
    "zboot with lzma": zboot(lzma.compress(image(), lzma.FORMAT_ALONE), b"lzma"),
    "zboot in gzip": gzip.compress(zboot(gzip.compress(image()))),
    "uImage": uimage(image()),
    "uImage, compressed": uimage(gzip.compress(image()), compression=1),
    "uImage, compressed outside": gzip.compress(uimage(image())),
    "uImage for anywhere": uimage(image(), kind=14, load=0, entry=0),
    "uImage of several files": uimage(gzip.compress(image()), b"ramdisk", kind=4),
}


@pytest.mark.parametrize("how", PACKED)
def test_a_linux_image_in_whatever_it_is_packed(write: Write, how: str) -> None:
    program = write.kernel(PACKED[how])
    assert (program.entry, program.start, program.end) == (HOME, HOME, HOME + 0x3000)
    assert bytes(program.segments[0].data) == image()


def test_an_elf_file_packed(write: Write) -> None:
    for data in (elf(Part(RAM)), gzip.compress(elf(Part(RAM))), uimage(elf(Part(RAM)))):
        assert write.kernel(data).entry == RAM


def test_a_uimage_says_where_its_kernel_belongs(write: Write) -> None:
    program = write.kernel(uimage(image(), load=RAM + 0x40_0000, entry=RAM + 0x40_0000))
    assert (program.entry, program.start) == (RAM + 0x40_0000,) * 2
    program = write.kernel(uimage(FLAT, load=RAM + 0x1000, entry=RAM + 0x1004))
    assert (program.entry, program.start) == (RAM + 0x1004, RAM + 0x1000)
    program = write.kernel(uimage(FLAT, kind=14, load=0, entry=4))
    assert (program.entry, program.start) == (HOME + 4, HOME)


def test_a_uimage_of_several_files(write: Write) -> None:
    path = write(uimage(gzip.compress(image()), b"ramdisk", b"tree!", kind=4))
    kernel = load_kernel(path, RISCV, ROOM, HOME)
    assert (kernel.ramdisk, kernel.device_trees) == (b"ramdisk", (b"tree!",))


DAMAGED = [
    (uimage(FLAT, entry=0x8020_0001), "is to be entered at 0x80200001, and instructions"),
    (uimage(FLAT, entry=0x8030_0000), "is to be entered at 0x80300000, where nothing"),
    (uimage(image(), entry=0), "is to be entered at 0x0, where nothing"),
    (uimage(FLAT)[:90], "is damaged: it has 90 bytes of 96"),
    (uimage(FLAT)[:63], "is damaged: it ends inside its header"),
    (uimage(FLAT)[:-1] + b"\1", "its contents do not have the checksum"),
    (uimage(FLAT).replace(b"test", b"rest"), "its header does not have the checksum"),
    (uimage(FLAT, architecture=22), "is for another processor (architecture 22 of U-Boot)"),
    (uimage(FLAT, kind=3), "is a U-Boot image of another kind (ramdisk)"),
    (uimage(FLAT, kind=99), "is a U-Boot image of another kind (type 99)"),
    (uimage(kind=4), "is damaged: it has no files"),
    (uimage(b""), "is empty"),
    (zboot(gzip.compress(image()))[:0x210], "is damaged: it has 528 bytes of"),
    (zboot(gzip.compress(image())[:-100]), "is damaged: it ends too early"),
    (zboot(b""), "is damaged"),
    (zboot(bytes(500), b"pear"), "holds a kernel that is compressed as 'pear', or damaged"),
    (gzip.compress(b""), "is empty"),
]


@pytest.mark.parametrize(("data", "cause"), DAMAGED, ids=[row[1] for row in DAMAGED])
def test_packings_that_are_damaged_or_for_others(write: Write, data: bytes, cause: str) -> None:
    assert cause in write.refused(data).cause


def test_layers_without_end(write: Write) -> None:
    data = image()
    for _ in range(9):
        data = gzip.compress(data)
    assert "more than 8 layers" in write.refused(data).cause


def test_a_kernel_grows_to_the_size_of_memory_at_most(write: Write) -> None:
    refused = write.refused(gzip.compress(bytes(17 << 20)))
    assert "it grows beyond 16 MiB" in refused.cause
    assert "more memory" in refused.remedy


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("Image"))
    return file.getvalue()


ARM64 = bytes(56) + b"ARM\x64" + bytes(4)
OTHERS = [
    (b"A text, no program.\n", "is text", "raw"),
    (ARM64, "is a Linux kernel for AArch64", "this board"),
    (bytes(bzimage()), "is a Linux kernel for x86", "--board microvm"),
    (b"MZ".ljust(200, b"\0"), "is a program for EFI", "firmware"),
    (b"!<arch>\n".ljust(200, b"\0"), "is an archive of object files", "link"),
    (b"!<arch>\ndebian-binary".ljust(200, b"\0"), "is a Debian package", "unpack"),
    (b"QFI\xfb".ljust(200, b"\0"), "is a qcow2 disk image", "--disk"),
    (b"ANDROID!".ljust(200, b"\0"), "is an Android boot image", "unpack"),
    (b"070701".ljust(200, b"\0"), "is a cpio archive", "--initrd"),
    (tar(), "is a tar archive", "unpack"),
    (bytes(1080) + b"\x53\xef" + bytes(100), "is an ext file system", "--disk"),
    (bytes(510) + b"\x55\xaa" + bytes(100), "is a disk image", "--disk"),
    (b"\x89LZO\0\r\n\x1a\n" + bytes(100), "is compressed with lzop", "lzop -d"),
    (b"LZIP" + bytes(100), "is compressed with lzip", "lzip -d"),
    (b"\x1f\x9d" + bytes(100), "is compressed with compress", "uncompress"),
    (bytes(700), "is not a kernel for RISC-V", "--kernel-format raw"),
]


@pytest.mark.parametrize(("data", "cause", "remedy"), OTHERS, ids=[row[1] for row in OTHERS])
def test_files_that_are_no_kernel(write: Write, data: bytes, cause: str, remedy: str) -> None:
    refused = write.refused(data)
    assert cause in refused.cause
    assert remedy in refused.remedy


def test_firmware_may_be_raw_or_whatever_a_kernel_may_be(write: Write) -> None:
    for data, entry in ((FLAT, RAM), (gzip.compress(FLAT), RAM), (image(), HOME)):
        assert load_firmware(write(data), RISCV, ROOM, RAM).entry == entry
    for data in (b"text\n", b"QFI\xfb".ljust(200, b"\0")):
        with pytest.raises(BimetalError, match="not firmware"):
            load_firmware(write(data), RISCV, ROOM, RAM)


def test_firmware_linked_at_zero_goes_where_its_bin_would(write: Write) -> None:
    program = load_firmware(write(elf(Part(0), entry=0, kind=3)), RISCV, ROOM, RAM)
    assert (program.start, program.entry) == (RAM, RAM)


def test_a_raw_kernel(write: Write) -> None:
    path = write(FLAT)
    program = load_raw(path, "kernel", 0x1234)
    assert program.segments == (Segment(0x1234, FLAT, len(FLAT)),)
    assert program.entry == 0x1234


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing", "the kernel .*missing cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("empty", "the kernel .*empty is empty"),
        ("/dev/zero", "the kernel /dev/zero is a device, or larger than 2 GiB"),
        ("sparse", "the kernel .*sparse is a device, or larger than 2 GiB"),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, name: str, cause: str) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(BimetalError, match=cause):
        load_kernel(str(tmp_path / name), RISCV, ROOM, HOME)


# Programs in memory


def test_a_program_fills_its_uninitialised_data_with_zeroes() -> None:
    where = room(1 << 22)
    ram = where.space.view(RAM, 1 << 22)
    ram[:] = b"\xff" * (1 << 22)
    Program("p", (Segment(RAM + 0x10, b"code", 0x20_0000),), RAM).load(where)
    assert bytes(ram[0xC:0x14]) == b"\xff" * 4 + b"code"
    assert bytes(ram[0x14:0x20_0010]) == bytes(0x20_0000 - 4)
    assert bytes(ram[0x20_0010:0x20_0014]) == b"\xff" * 4


def test_a_program_that_does_not_fit_is_the_users_error() -> None:
    with pytest.raises(BimetalError, match="Image needs 8 MiB of memory at 0x80000000") as caught:
        Program("Image", (Segment(RAM, b"", 8 << 20),), RAM).load(room())
    assert caught.value.remedy == "give it at least 8 MiB"


# What U-Boot's own tool makes

SOURCE = """\
/dts-v1/;
/ {
    description = "test";
    #address-cells = <1>;
    images {
        kernel-1 {
            data = /incbin/("Image.gz");
            type = "kernel"; arch = "riscv"; os = "linux"; compression = "gzip";
            load = <0x80200000>; entry = <0x80200000>;
            hash-1 { algo = "sha256"; };
            hash-2 { algo = "crc32"; };
        };
        ramdisk-1 {
            data = /incbin/("ramdisk");
            type = "ramdisk"; arch = "riscv"; os = "linux"; compression = "none";
        };
        fdt-1 {
            data = /incbin/("board.dtb");
            type = "flat_dt"; arch = "riscv"; compression = "none";
        };
        fdt-2 {
            data = /incbin/("other.dtb");
            type = "flat_dt"; arch = "riscv"; compression = "none";
        };
    };
    configurations {
        default = "other";
        other { kernel = "kernel-1"; ramdisk = "ramdisk-1"; fdt = "fdt-2"; };
        ours { kernel = "kernel-1"; ramdisk = "ramdisk-1"; fdt = "fdt-1"; };
        plain { kernel = "kernel-1"; };
    };
};
"""
TREE = '/dts-v1/; / { compatible = "COMPATIBLE"; model = "from the image"; };\n'


def fit(folder: Path, *options: str, source: str = SOURCE) -> bytes:
    need("dtc", "mkimage")
    (folder / "Image.gz").write_bytes(gzip.compress(image()))
    (folder / "ramdisk").write_bytes(b"ramdisk")
    for name, compatible in (("board", "riscv-virtio"), ("other", "acme,other")):
        subprocess.run(
            ["dtc", "-q", "-O", "dtb", "-o", f"{name}.dtb"],
            input=TREE.replace("COMPATIBLE", compatible).encode(),
            cwd=folder,
            check=True,
        )
    (folder / "image.its").write_text(source)
    command = ["mkimage", "-q", *options, "-f", "image.its", "image.itb"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "image.itb").read_bytes()


@pytest.mark.parametrize("options", [[], ["-E"], ["-E", "-p", "0x10000"]], ids=" ".join)
def test_a_flattened_image_tree(tmp_path: Path, write: Write, options: list[str]) -> None:
    kernel = load_kernel(write(fit(tmp_path, *options)), RISCV, ROOM, HOME)
    assert (kernel.program.entry, kernel.program.start) == (HOME, HOME)
    assert bytes(kernel.program.segments[0].data) == image()
    assert kernel.ramdisk == b"ramdisk"
    (tree,) = kernel.device_trees
    assert b"from the image" in tree


def test_a_device_tree_of_another_board_is_not_used(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    source = SOURCE.replace('ours { kernel = "kernel-1"; ramdisk = "ramdisk-1"; fdt', "ours { fit")
    kernel = load_kernel(write(fit(tmp_path, source=source)), RISCV, ROOM, HOME)
    assert (kernel.program.entry, kernel.device_trees) == (HOME, ())
    assert "has a device tree for another board (acme,other)" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ('default = "other"', 'default = "none"', "has no configuration none"),
        ('kernel = "kernel-1"', 'loadables = "kernel-1"', "has no kernel in its configuration"),
        ('arch = "riscv"; os', 'arch = "arm64"; os', "is for another processor (arm64)"),
        ("0x80200000", "0x80200001", "is to be entered at 0x80200001"),
    ],
)
def test_image_trees_that_cannot_be_used(
    tmp_path: Path, write: Write, old: str, new: str, cause: str
) -> None:
    source = SOURCE.replace(old, new).replace('"fdt-1"', '"fdt-2"')
    assert cause in write.refused(fit(tmp_path, source=source)).cause


def test_image_trees_that_are_damaged(tmp_path: Path, write: Write) -> None:
    whole = fit(tmp_path)
    at = whole.index(gzip.compress(image())[-8:])
    assert "is not what its hash says" in write.refused(whole[:at] + b"?" + whole[at + 1 :]).cause
    assert "is damaged" in write.refused(whole[:-200]).cause
    outside = fit(tmp_path, "-E")
    assert "is damaged: it has" in write.refused(outside[:-200]).cause
    renamed = whole.replace(b"kernel-1\0\0\0\0", b"kernel-9\0\0\0\0", 1)
    assert "has no image kernel-1" in write.refused(renamed).cause


def test_a_device_tree_is_no_kernel(tmp_path: Path, write: Write) -> None:
    fit(tmp_path)
    refused = write.refused((tmp_path / "board.dtb").read_bytes())
    assert "is a device tree, no kernel" in refused.cause
    assert "--dtb" in refused.remedy


def test_an_image_tree_that_mkimage_makes_by_itself(tmp_path: Path, write: Write) -> None:
    fit(tmp_path)
    command = "mkimage -f auto -A riscv -O linux -T kernel -C gzip -a 0x80200000 -e 0x80200000"
    files = "-d Image.gz -i ramdisk -b board.dtb auto.itb"
    subprocess.run([*command.split(), *files.split()], cwd=tmp_path, check=True)
    kernel = load_kernel(write((tmp_path / "auto.itb").read_bytes()), RISCV, ROOM, HOME)
    assert (kernel.program.entry, kernel.ramdisk) == (HOME, b"ramdisk")
    assert b"from the image" in kernel.device_trees[0]


@programs("mkimage")
def test_what_mkimage_makes(tmp_path: Path, write: Write) -> None:
    (tmp_path / "Image").write_bytes(image())
    (tmp_path / "Image.gz").write_bytes(gzip.compress(image()))
    for kind, compression, file in (
        ("kernel", "none", "Image"),
        ("kernel", "gzip", "Image.gz"),
        ("kernel_noload", "gzip", "Image.gz"),
        ("multi", "none", "Image:Image.gz"),
    ):
        where = ["-a", "0x80200000", "-e", "0x80200000"] if kind != "kernel_noload" else []
        command = ["mkimage", "-A", "riscv", "-O", "linux", "-T", kind, "-C", compression]
        subprocess.run(
            [*command, *where, "-d", file, "uImage"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        program = write.kernel((tmp_path / "uImage").read_bytes())
        assert (program.entry, program.start) == (HOME, HOME)
        assert bytes(program.segments[0].data) == image()
