"""Machines that stay: defined, started, watched, ended, killed, by several clients at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError
from bimetal.control import DiskPart, Known, machines
from bimetal.control.conversation import Conversation
from bimetal.control.places import write_whole
from bimetal.control.verbs import plugging
from bimetal.isa.arm import a64
from tests.boot.bare import write_program
from tests.boot.counting import AARCH64, ARM_BASE
from tests.control.homes import LIMIT, Homes
from tests.control.talker import Talker


def test_a_life_in_virshs_words(homes: Homes) -> None:
    virsh = homes.virsh
    assert virsh("list", "--all") == " Id   Name   State\n--------------------\n\n"
    file = homes.file("crab")
    assert virsh("define", file) == f"Domain 'crab' defined from {file}\n\n"
    rows = " Id   Name   State\n-----------------------\n -    crab   shut off\n\n"
    assert virsh("list", "--all") == rows
    assert virsh("list", "--name") == "\n"
    assert virsh("start", "crab") == "Domain 'crab' started\n\n"
    assert virsh("list") == " Id   Name   State\n----------------------\n 1    crab   running\n\n"
    assert virsh("-q", "list", "--name") == "crab\n"
    assert virsh("domstate", "crab", "--reason") == "running (booted)\n\n"
    assert virsh("suspend", "1") == "Domain '1' suspended\n\n".replace("1", "crab")
    assert virsh("domstate", "crab") == "paused\n\n"
    assert virsh("resume", homes.virsh("domuuid", "crab").strip()).startswith("Domain 'crab'")
    assert "State:          running\n" in virsh("dominfo", "crab")
    assert virsh("reset", "crab") == "Domain 'crab' was reset\n\n"
    assert virsh("qemu-monitor-command", "crab", "--hmp", "info name") == "crab\n\n"
    assert virsh("domid", "crab").strip() == "1"
    console = virsh("ttyconsole", "crab").strip()
    assert stat.S_ISCHR(os.stat(console).st_mode)
    assert f'tty="{console}"' in virsh("dumpxml", "crab")
    assert "tty=" not in virsh("dumpxml", "crab", "--inactive")
    assert virsh("destroy", "crab") == "Domain 'crab' destroyed\n\n"
    assert virsh("domstate", "crab", "--reason") == "shut off (destroyed)\n\n"
    assert virsh("undefine", "crab") == "Domain 'crab' has been undefined\n\n"
    assert "crab" not in virsh("list", "--all")
    assert not homes.places.state("crab").exists()


def test_errors_in_virshs_words(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    for words in (
        ("start", "whale"), ("destroy", "crab"), ("define", "/missing"), ("frobnicate",),
        ("start",),
        ("-c", "qemu+ssh://host/system", "list"), ("list", "--colour"), ("domstate", "7"),
        ("suspend", "crab"), ("undefine", "../crab"), ("restore", "/missing"), ("shutdown", "crab"),
    ):  # fmt: skip
        outcome = homes.run(*words, program="virsh")
        assert (outcome.code, outcome.out) == (1, ""), words
        assert outcome.err.startswith("error: "), words
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arch", "vcpus", "board", "why"),
    [
        ("riscv64", 100000, "riscv-virt", "takes 1 to 64 CPUs, not 100000"),
        ("aarch64", 100000, "arm-virt", "takes 1 to 123 CPUs, not 100000"),
        ("aarch64", 9, "arm-virt", "takes 1 to 8 CPUs, not 9"),
        ("aarch64", 9, "arm-virt,gic=3", ""),
        ("riscv64", 64, "riscv-virt", ""),
    ],
)
def test_a_board_has_so_many_cpus(
    arch: str, vcpus: int, board: str, why: str, homes: Homes
) -> None:
    text = homes.text("crab").replace("arch='riscv64'", f"arch='{arch}'")
    text = text.replace("accel='interp'", f"accel='interp' board='{board}'")
    text = text.replace("<memory", f"<vcpu>{vcpus}</vcpu><memory")
    if not why:
        assert homes.machines.define(text).cpus == vcpus
        return
    for act in (homes.machines.define, homes.machines.create):
        with pytest.raises(BimetalError, match=why) as refused:
            act(text)
        assert refused.value.remedy
    assert not list(homes.machines)


def test_states_of_all(homes: Homes) -> None:
    for name in ("a", "b", "c"):
        homes.machines.define(homes.text(name))
    homes.machines.start("b")
    homes.machines.start("c", paused=True)
    assert [each.name for each in homes.machines] == ["b", "c", "a"]
    for words, names in {
        (): "b c",
        ("--all",): "b c a",
        ("--inactive",): "a",
        ("--state-paused",): "c",
        ("--state-running", "--state-shutoff", "--all"): "b a",
        ("--transient",): "",
    }.items():
        assert homes.virsh("-q", "list", "--name", *words).split() == names.split(), words
    assert homes.machines.ask("c", "query-status")["status"] == "prelaunch"


def test_a_machine_of_a_guest_that_switches_off(homes: Homes) -> None:
    homes.machines.define(homes.text("crab", homes.off))
    homes.machines.start("crab", paused=True)
    homes.machines.ask("crab", "cont")
    assert homes.machines.await_end("crab", LIMIT)
    known = homes.machines.find("crab")
    assert (known.state, known.reason) == ("shut off", "shutdown")
    assert not list((homes.folder / "r" / "bimetal").iterdir()), "its sockets are gone"


def test_a_transient_machine_is_gone_at_its_end(homes: Homes) -> None:
    known = homes.machines.create(homes.text("fly"))
    assert (known.state, known.persistent) == ("running", False)
    with pytest.raises(BimetalError, match="transient"):
        homes.machines.undefine("fly")
    homes.machines.destroy("fly")
    assert not list(homes.machines)
    assert homes.machines.places.known() == [], "what was known of it is gone too"


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_transient_machine_leaves_nothing_when_its_guest_switches_off(
    homes: Homes, sandbox: bool
) -> None:
    homes.machines.create(homes.text("fly", homes.off), paused=True, sandbox=sandbox)
    homes.machines.ask("fly", "cont")
    assert homes.machines.await_end("fly", LIMIT)
    assert homes.machines.places.known() == []


def test_a_machine_that_is_undefined_while_it_runs_leaves_nothing_at_its_end(homes: Homes) -> None:
    homes.machines.define(homes.text("fly"))
    homes.machines.start("fly")
    homes.machines.undefine("fly")
    homes.machines.destroy("fly")
    assert homes.machines.places.known() == []


def test_the_log_of_a_transient_machine_that_has_crashed_stays(homes: Homes) -> None:
    homes.machines.create(homes.text("fly"))
    homes.kill("fly")
    assert homes.machines.places.known() == ["fly"]


def test_a_machine_that_is_killed(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    first = homes.machines.start("crab").id
    homes.kill("crab")
    known = homes.machines.find("crab")
    assert (known.state, known.reason, known.id) == ("shut off", "crashed", 0)
    assert (homes.folder / "r/bimetal/crab/qmp").exists(), "a stale socket"
    with pytest.raises(BimetalError, match="domain is not running"):
        homes.machines.ask("crab", "query-status")
    again = homes.machines.start("crab")
    assert (again.state, again.id) == ("running", first + 1)
    assert homes.machines.ask("crab", "query-status")["running"]


def test_a_machine_that_cannot_start_has_not_crashed(homes: Homes, tmp_path: Path) -> None:
    disk = f"<disk type='file'><source file='{tmp_path}/missing'/><target dev='vda'/></disk>"
    homes.machines.define(homes.text("crab", devices=disk))
    with pytest.raises(BimetalError, match="there is no disk image"):
        homes.machines.start("crab")
    assert homes.virsh("domstate", "--reason", "crab") == "shut off (failed)\n\n"


def test_a_full_disk_ends_no_machine(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    folder = homes.places.state("crab")
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o700)
    (folder / "log").symlink_to("/dev/full")
    homes.machines.start("crab")
    state = folder / "state.json"
    state.unlink()
    state.mkdir()  # so it cannot be written
    with Conversation(str(homes.folder / "r/bimetal/crab/qmp"), "crab") as crab:
        crab.ask("stop")
        crab.ask("cont")
        state.rmdir()
        crab.ask("stop")
    assert homes.machines.find("crab").state == "paused"


def test_a_document_without_an_end(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    for words in (("define",), ("attach-device", "crab")):
        told = homes.bimetal(*words, "/dev/zero")
        assert told.code == 65
        assert told.err.startswith("bimetal: this is a definition of 2097152 bytes")


def test_a_process_that_hangs_up(tmp_path: Path) -> None:
    place = str(tmp_path / "qmp")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises(BimetalError, match="the process of crab has ended"):
            Conversation(place, "crab")
        thread.join()
    with pytest.raises(BimetalError, match="the process of crab has ended"):
        Conversation(place, "crab")
    os.unlink(place)
    with pytest.raises(BimetalError, match="the process of crab has ended"):
        Conversation(place, "crab")


def test_a_process_that_does_not_hear(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "TERM_SECONDS", 0.1)
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    os.kill(homes.places.pid("crab"), signal.SIGSTOP)
    assert [known.state for known in homes.machines] == ["running"]
    with pytest.raises(BimetalError, match="does not end"):
        homes.machines.destroy("crab", graceful=True)
    homes.machines.destroy("crab")
    assert homes.machines.find("crab").state == "shut off"


def test_two_clients_start_one_machine(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    ends: list[Known | BimetalError] = []

    def start() -> None:
        try:
            ends.append(homes.machines.start("crab"))
        except BimetalError as error:
            ends.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    started = [each for each in ends if isinstance(each, Known)]
    refused = [str(each) for each in ends if isinstance(each, BimetalError)]
    assert (len(started), len(refused)) == (1, 2)
    assert all("runs already" in each or "already running" in each for each in refused)
    assert homes.machines.find("crab").state == "running"


def test_two_machines_with_one_disk(homes: Homes, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    device = f"<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>"
    for name in ("one", "two"):
        homes.machines.define(homes.text(name, devices=device))
    homes.machines.start("one")
    assert homes.virsh("-q", "domblklist", "one").split() == ["vda", str(disk)]
    with pytest.raises(BimetalError, match=r"disk\.qcow2"):
        homes.machines.start("two")
    assert homes.machines.find("two").state == "shut off"
    homes.kill("one")
    assert homes.machines.start("two").state == "running"


@pytest.mark.parametrize(
    ("kernel", "devices", "why"),
    [
        (Path("/missing/kernel"), "", "/missing/kernel cannot be read"),
        (
            None,
            "<disk type='file'><source file='/missing.img'/><target dev='a'/></disk>",
            "missing",
        ),
        (None, "<serial type='file'><source path='/missing/log'/></serial>", "missing"),
    ],
)
def test_a_machine_that_cannot_start(
    homes: Homes, kernel: Path | None, devices: str, why: str
) -> None:
    homes.machines.define(homes.text("crab", kernel, devices))
    with pytest.raises(BimetalError, match=why):
        homes.machines.start("crab")
    assert homes.machines.find("crab").state == "shut off"


def test_a_process_that_dies_before_the_machine_runs(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.machines.define(homes.text("crab"))
    monkeypatch.setenv("PYTHONPATH", "/missing")
    monkeypatch.setenv("PYTHONHOME", "/missing")
    with pytest.raises(BimetalError, match="has ended before the machine ran"):
        homes.machines.start("crab")


def test_a_machine_is_saved_and_restored(homes: Homes, tmp_path: Path) -> None:
    homes.machines.define(homes.text("crab"))
    uuid = homes.machines.definition("crab").uuid
    homes.machines.start("crab")
    file = str(tmp_path / "saved")
    assert homes.virsh("save", "crab", file) == f"Domain 'crab' saved to {file}\n\n"
    assert homes.virsh("domstate", "--reason", "crab") == "shut off (saved)\n\n"
    assert homes.virsh("restore", file) == f"Domain restored from {file}\n\n"
    assert homes.virsh("domstate", "--reason", "crab") == "running (restored)\n\n"
    assert homes.machines.definition("crab").uuid == uuid
    with pytest.raises(BimetalError, match="already"):
        homes.machines.restore(file)


def test_media_and_memory(homes: Homes, tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    image.write_bytes(bytes(1 << 20))
    devices = "<disk type='file' device='cdrom'><target dev='sda' bus='scsi'/></disk>"
    text = homes.text("crab", devices=devices + "<memballoon model='virtio'/>")
    homes.machines.define(text)
    homes.machines.start("crab")
    assert homes.virsh("domblklist", "crab").splitlines()[2].split() == ["sda", "-"]
    told = homes.virsh("change-media", "crab", "sda", "--source", str(image))
    assert told == "Successfully inserted media.\n\n"
    assert homes.virsh("domblklist", "crab").splitlines()[2].split() == ["sda", str(image)]
    assert "ejected" in homes.virsh("change-media", "crab", "sda", "--eject")
    assert homes.run("change-media", "crab", "sdb", "--eject").code == 64
    assert homes.virsh("setmem", "crab", "8M") == "\n"
    assert homes.run("setmem", "crab", "1G").code == 69


def test_a_disk_is_plugged_in(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "x.img"
    image.write_bytes(bytes(1 << 20))
    text = homes.text("crab").replace("accel='", "board='riscv-virt,ports=1' accel='")
    homes.machines.define(text)
    homes.machines.start("crab")
    attach = ("attach-disk", "crab", str(image), "vdb", "--mode", "readonly")
    assert homes.virsh(*attach) == "Disk attached successfully\n\n"
    assert homes.virsh("domblklist", "crab").splitlines()[2].split() == ["vdb", str(image)]
    assert homes.run(*attach).code == 69
    assert "all 1 slots are taken" in homes.run("attach-disk", "crab", str(image), "vdc").err
    monkeypatch.setattr(plugging, "LET_GO_SECONDS", 0.1)
    with pytest.raises(BimetalError, match="has not let go of vdb"):
        plugging.detach_disk(homes.machines, "crab", "vdb")
    with homes.machines.conversation("crab") as talk:
        talk.ask("device_del", id="vdb", force=True)
        assert talk.wait_for("DEVICE_DELETED", LIMIT, device="vdb")
        talk.ask("blockdev-del", node_name="vdb")
    assert homes.virsh(*attach) == "Disk attached successfully\n\n"


def test_states_are_kept_in_the_disks(homes: Homes, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    device = f"<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>"
    homes.machines.define(homes.text("crab", devices=device))
    homes.machines.start("crab")
    told = homes.virsh("snapshot-create-as", "crab", "first")
    assert told == "Domain snapshot first created\n\n"
    head, rule, row = homes.virsh("snapshot-list", "crab").splitlines()[:3]
    assert head.split() == ["Name", "Creation", "Time", "State"]
    assert len(rule) >= len(row) > 0
    assert (row.split()[0], row.split()[-1]) == ("first", "running")
    assert "reverted" in homes.virsh("snapshot-revert", "crab", "first")
    assert "second" in homes.run("snapshot-revert", "crab", "second").err
    assert "deleted" in homes.virsh("snapshot-delete", "crab", "first")
    assert "first" not in homes.virsh("snapshot-list", "crab")
    assert homes.machines.find("crab").state == "running"


def test_a_definition_in_json(homes: Homes) -> None:
    values = {"name": "crab", "board": "riscv-virt", "memory": "16M", "accel": "interp"}
    path = homes.folder / "crab.json"
    path.write_text(json.dumps({**values, "kernel": str(homes.echo)}))
    homes.virsh("define", str(path))
    told = json.loads(homes.virsh("dumpjson", "crab"))
    assert told["memory"] == 16 << 20
    assert homes.machines.start("crab").state == "running"


def test_the_console(homes: Homes) -> None:
    homes.machines.define(homes.text("crab", homes.echo))
    homes.machines.start("crab")
    code = "from bimetal.cli import main; main(['console', 'crab'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=homes.environment, stdin=-1, stdout=-1, stderr=-1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello")
        process.stdin.flush()
        assert process.stdout.read(5) == b"hello"
        other = homes.run("console", "crab")
        assert other.code == 69
        assert "somebody talks" in other.err
        process.stdin.write(b"\x1dnot sent")
        process.stdin.flush()
        assert process.wait(LIMIT) == 0
    assert homes.machines.find("crab").state == "running"


def test_the_socket_is_qmps(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    with Talker(homes.folder / "r/bimetal/crab/qmp") as client:
        assert client.value("query-name") == {"name": "crab"}
        assert "no power button" in client.refused("bimetal-reboot")[1]
        client.value("quit")
        assert client.event("SHUTDOWN")
    assert homes.machines.await_end("crab", LIMIT)
    assert homes.machines.find("crab").reason == "destroyed"


def test_a_guest_that_switches_off_is_started_again(homes: Homes) -> None:
    kernel = write_program(
        homes.folder / "arm.elf",
        "movz x1, #0x900, lsl #16",  # the serial port
        "movz x2, #0x910, lsl #16",  # the test finisher
        "movz x3, #0x5555",
        "ldr w0, [x1, #24]",
        "and w0, w0, #16",
        f"cbnz w0, {ARM_BASE + 12:#x}",  # until something is typed
        "str w3, [x2, #0]",
        machine=AARCH64,
        isa=a64,
        base=ARM_BASE,
    )
    text = homes.text("crab", kernel).replace("riscv64", "aarch64")
    homes.machines.define(text)
    first = homes.machines.start("crab")
    homes.machines.ask("crab", "bimetal-reboot")
    with Talker(homes.folder / "r/bimetal/crab/qmp") as client:
        os.write(console := os.open(homes.machines.console_of("crab"), os.O_RDWR), b"x")
        os.close(console)
        assert client.event("SHUTDOWN")["data"]["reason"] == "guest-shutdown"
        with pytest.raises(EOFError):
            client.next()
    countdown = Countdown(LIMIT)
    while homes.machines.find("crab").state != "running" or not answers(homes):
        assert countdown.left
    assert homes.machines.find("crab").id == first.id


def answers(homes: Homes) -> bool:
    """Whether the machine listens already."""
    with suppress(BimetalError):
        return bool(homes.machines.ask("crab", "query-status")["running"])
    return False


def test_a_client_that_is_killed_while_it_starts_a_machine(homes: Homes) -> None:
    """Whenever that is, the machine runs, or does not, and can be started."""
    homes.machines.define(homes.text("crab"))
    code = "from bimetal.cli import main; main(['start', 'crab'])"
    for started in ("lease", "state.json"):
        with subprocess.Popen([sys.executable, "-c", code], env=homes.environment) as client:
            place = homes.places.state("crab") / started
            while client.poll() is None and not place.exists():
                pass
            client.kill()
        countdown = Countdown(LIMIT)
        while homes.machines.find("crab").state != "running":
            assert countdown.left
        assert homes.machines.ask("crab", "query-status")["running"]
        homes.kill("crab")
        shutil.rmtree(homes.places.state("crab"))


def test_a_long_name(homes: Homes) -> None:
    name = "crab " + "x" * 95
    homes.machines.define(homes.text(name))
    assert homes.machines.start(name).state == "running"
    assert homes.machines.ask(name, "query-name") == {"name": name}


def test_definitions_made_in_python(homes: Homes) -> None:
    crab = homes.machines.define(homes.text("crab"))
    other = replace(crab, name="whale", uuid=crab.uuid, disks=(DiskPart("/srv/x.img", "vda"),))
    with pytest.raises(BimetalError, match="already defined with uuid"):
        homes.machines.define_values(other)
    homes.machines.undefine("crab")
    assert homes.machines.define_values(other) == other
    assert homes.machines.definition("whale") == other


def test_what_defining_cannot_do(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    with pytest.raises(BimetalError, match="already exists with uuid"):
        homes.machines.define(homes.text("crab"))
    text = homes.machines.xml("crab")
    again = homes.machines.define(text.replace(">16<", ">32<"))
    assert again.memory == 32 << 20
    before = homes.places.definition("crab").read_text()
    for wrong in ("", text.replace("<name>crab", "<name>a/b"), text.replace("hvm", "xen")):
        with pytest.raises(BimetalError):
            homes.machines.define(wrong)
    assert homes.places.definition("crab").read_text() == before


def test_nobody_else_may_look(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    for place in (homes.places.definition("crab"), homes.places.state("crab") / "log"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((homes.folder / "r/bimetal/crab").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"pid": "x"}', b"[" * 9999])
def test_a_damaged_state(homes: Homes, content: bytes) -> None:
    homes.machines.define(homes.text("crab"))
    folder = homes.places.state("crab")
    folder.mkdir(parents=True)
    (folder / "state.json").write_bytes(content)
    (folder / "lease").touch()
    assert homes.machines.find("crab").state == "shut off"


def test_a_file_is_written_wholly_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BimetalError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_fifty_machines_are_listed_by_looking_at_files_only(homes: Homes) -> None:
    """What a list costs: no XML, no QMP, no machine; the time is in SPEC.md."""
    for number in range(50):
        homes.machines.define(homes.text(f"vm{number:02}"))
    code = """
import sys
from bimetal.cli import main
try:
    main(["list", "--all"])
finally:
    heavy = {"lxml", "msgspec", "llvmlite", "socket", "bimetal.machine"}
    print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=homes.environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.count("shut off") == 50
    assert done.stderr == "[]\n"


@pytest.mark.slow
def test_fifty_machines_twenty_of_which_run_and_are_killed(homes: Homes) -> None:
    names = [f"vm{number:02}" for number in range(50)]
    for name in names:
        homes.machines.define(homes.text(name))
    for name in names[:20]:
        homes.machines.start(name)
    states = {known.name: known.state for known in homes.machines}
    assert states == {name: "running" if name in names[:20] else "shut off" for name in names}
    for name in names[:20]:
        os.kill(homes.places.pid(name), signal.SIGKILL)
    assert all(homes.machines.await_end(name, LIMIT) for name in names[:20])
    reasons = [(known.state, known.reason) for known in homes.machines]
    assert reasons == [("shut off", "crashed")] * 20 + [("shut off", "unknown")] * 30
    assert homes.machines.start(names[0]).id == 21
    assert [homes.machines.definition(name).name for name in names] == names


def test_what_a_machines_process_is(homes: Homes) -> None:
    """A process on its own, which says who it is, and gets no new privileges."""
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    pid = homes.places.pid("crab")
    state = json.loads((homes.places.state("crab") / "state.json").read_text())
    assert (state["pid"], state["state"]) == (pid, "running")
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert f"PPid:\t{os.getpid()}\n" not in status


def test_folders_that_others_can_write(homes: Homes) -> None:
    folder = homes.places.definitions
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(BimetalError, match="can be written by others"):
        homes.machines.define(homes.text("crab"))
