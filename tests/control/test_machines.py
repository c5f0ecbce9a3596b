"""Machines that stay: defined, started, watched, ended, killed, by several clients at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control import DiskPart, Known
from bimetal.control.places import write_whole
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
    assert homes.machines._await_end("crab", LIMIT)
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


def test_the_console(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
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
    assert homes.machines._await_end("crab", LIMIT)
    assert homes.machines.find("crab").reason == "destroyed"


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


def test_json_of_a_state(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    state = json.loads((homes.places.state("crab") / "state.json").read_text())
    assert (state["pid"], state["state"]) == (homes.places.pid("crab"), "running")


def test_folders_that_others_can_write(homes: Homes) -> None:
    folder = homes.places.definitions
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(BimetalError, match="can be written by others"):
        homes.machines.define(homes.text("crab"))
