"""A program that draws into a frame buffer shows on our board what it shows on QEMU's."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from PIL import Image

from bimetal import Machine
from tests.boards.test_like_qemu import LIMIT, PROGRAMS
from tests.host import programs

COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-system-aarch64"
OPTIONS = (
    "-O1 -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -mstrict-align"
    " -mgeneral-regs-only -fno-tree-loop-distribute-patterns -Wl,--build-id=none"
    " -Wl,--no-warn-rwx-segments -Wl,-Ttext=0x40200000 -Wl,--defsym=stack_top=0x40400000"
).split()
PICTURES = 4
"""What the program shows: three formats, one of them also with a gap between the rows."""

pytestmark = programs(COMPILER, QEMU)


class Monitor:
    """QEMU's monitor for programs at the end of a Unix socket."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile()
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: str) -> None:
        text = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        self._socket.sendall(text.encode())
        answer: dict[str, object] = {}
        while "return" not in answer:
            answer = json.loads(self._lines.readline())
            assert "error" not in answer, answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def built(folder: Path) -> Path:
    program = folder / "ramfb.elf"
    command = [COMPILER, *OPTIONS, str(PROGRAMS / "ramfb.c"), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return program


def pictures_on_qemu(program: Path, folder: Path) -> list[Path]:
    command = [QEMU, "-M", "virt", "-cpu", "cortex-a72", "-m", "64M", "-kernel", str(program)]
    command += ["-device", "ramfb", "-display", "none", "-serial", "stdio"]
    command += ["-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
    made = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        try:
            for number in range(PICTURES):
                assert qemu.stdout.readline() == b"0\n"
                if number == 0:
                    monitor = Monitor(folder / "qmp")
                made.append(folder / f"qemu{number}.ppm")
                monitor.ask("screendump", filename=str(made[-1]))
                qemu.stdin.write(b"x")
                qemu.stdin.flush()
            monitor.close()
        finally:
            qemu.kill()
    return made


def pictures_on_ours(program: Path, folder: Path) -> list[Path]:
    made = []
    with Machine("arm-virt", memory="64M", bios="none", kernel=program, accel="interp") as vm:
        vm.video("ramfb")
        vm.start()
        for number in range(PICTURES):
            vm.console.expect("0\n", LIMIT)
            made.append(folder / f"ours{number}.png")
            vm.screendump(made[-1])
            vm.console.send("x")
    return made


def test_the_same_pictures_on_both(tmp_path: Path) -> None:
    program = built(tmp_path)
    expected = pictures_on_qemu(program, tmp_path)
    for mine, theirs in zip(pictures_on_ours(program, tmp_path), expected, strict=True):
        with Image.open(mine) as ours, Image.open(theirs) as qemus:
            assert (ours.size, ours.mode) == (qemus.size, qemus.mode) == ((64, 48), "RGB")
            assert ours.tobytes() == qemus.tobytes(), mine.name
