"""Core files and device trees of machines, as other programs read them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bimetal.control import Monitor
from bimetal.isa.arm import a64
from bimetal.machine.machine import Machine
from tests.boot.bare import write_program
from tests.boot.counting import AARCH64, ARM_BASE
from tests.boot.verifying import verifying_program
from tests.control.talker import Talker
from tests.host import program_path, programs

HERE = 0x1234


@pytest.fixture(params=["riscv-virt", "arm-virt"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Machine, Talker]]:
    """A machine that runs on two CPUs, and somebody who controls it."""
    path = tmp_path / "program.elf"
    if request.param == "arm-virt":
        words = (f"movz x5, #{HERE:#x}", f"b {ARM_BASE + 4:#x}")
        write_program(path, *words, machine=AARCH64, isa=a64, base=ARM_BASE)
    else:
        verifying_program(path, 64)
    with ExitStack() as stack:
        machine = Machine(
            request.param, kernel=path, memory="16M", bios="none", cpus=2, accel="interp"
        )
        stack.enter_context(machine)
        stack.enter_context(Monitor(machine, f"unix:{tmp_path}/qmp"))
        machine.start()
        yield machine, stack.enter_context(Talker(tmp_path / "qmp"))


def test_a_core_file_is_what_readelf_and_elftools_read(
    served: tuple[Machine, Talker], tmp_path: Path
) -> None:
    machine, talker = served
    core = tmp_path / "core"
    talker.value("dump-guest-memory", paging=False, protocol=f"file:{core}")
    assert talker.value("query-status")["running"]
    told = talker.value("query-dump")
    assert told["status"] == "completed"
    assert told["completed"] == told["total"] >= 16 << 20
    machine.pause()
    with core.open("rb") as file:
        elf = ELFFile(file)
        assert elf.header.e_type == "ET_CORE"
        assert elf.header.e_machine in ("EM_RISCV", "EM_AARCH64")
        notes = [note for each in elf.iter_segments("PT_NOTE") for note in each.iter_notes()]
        assert [note["n_type"] for note in notes] == ["NT_PRSTATUS"] * 2
        loads = list(elf.iter_segments("PT_LOAD"))
        assert [(each["p_paddr"], each["p_memsz"]) for each in loads] == machine.memory.ranges()
        last = loads[-1]
        code = machine.memory.read(ARM_BASE if machine.board == "arm-virt" else 0x8000_0000, 64)
        assert code in last.data()[: 8 << 20]


def test_a_core_file_by_a_descriptor_and_an_event(
    served: tuple[Machine, Talker], tmp_path: Path
) -> None:
    _, talker = served
    with (tmp_path / "core").open("wb") as file:
        message = json.dumps({"execute": "getfd", "arguments": {"fdname": "dump"}})
        socket.send_fds(talker.socket, [message.encode()], [file.fileno()])
        assert talker.answer() == {"return": {}}
    talker.value("dump-guest-memory", paging=False, protocol="fd:dump", detach=True)
    data = talker.event("DUMP_COMPLETED")["data"]
    assert data["result"]["status"] == "completed"
    assert (tmp_path / "core").stat().st_size > 16 << 20
    assert talker.value("query-dump-guest-memory-capability") == {"formats": ["elf"]}


def test_core_files_that_cannot_be(served: tuple[Machine, Talker], tmp_path: Path) -> None:
    _, talker = served
    for arguments, why in (
        ({"paging": True, "protocol": "file:/tmp/x"}, "virtual addresses"),
        ({"paging": False, "protocol": "tcp:there:1"}, "no place"),
        ({"paging": False, "protocol": "fd:none"}, "no descriptor"),
        ({"paging": False, "protocol": "file:/missing/x"}, "nothing can be sent"),
    ):
        assert why in talker.refused("dump-guest-memory", **arguments)[1]
    if os.path.exists("/dev/full"):
        arguments = {"paging": False, "protocol": "file:/dev/full"}
        assert "No space left" in talker.refused("dump-guest-memory", **arguments)[1]
    assert talker.value("query-status")["running"]


@programs("gdb-multiarch")
def test_gdb_reads_registers_and_memory(served: tuple[Machine, Talker], tmp_path: Path) -> None:
    machine, talker = served
    core = tmp_path / "core"
    talker.value("stop")
    talker.value("dump-guest-memory", paging=False, protocol=f"file:{core}")
    words = ["-ex", f"core-file {core}", "-ex", "info threads", "-ex", "info registers pc"]
    base = ARM_BASE if machine.board == "arm-virt" else 0x8000_0000
    words += ["-ex", f"x/2xw {base:#x}"]
    outcome = subprocess.run(
        [program_path("gdb-multiarch"), "-nx", "-batch", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = outcome.stdout
    assert re.search(rf"pc\s+{machine.cpus[0].pc:#x}\b", said), (said, outcome.stderr)
    word = int.from_bytes(machine.memory.read(base, 4), "little")
    assert f"{word:#010x}" in said
    assert len(re.findall(r"LWP|Thread", said)) >= 2


def test_the_device_tree(served: tuple[Machine, Talker], tmp_path: Path) -> None:
    machine, talker = served
    talker.value("dumpdtb", filename=str(tmp_path / "dtb"))
    assert (tmp_path / "dtb").read_bytes() == machine.device_tree()
    assert "cannot be written" in talker.refused("dumpdtb", filename="/missing/dtb")[1]
