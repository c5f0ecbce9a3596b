"""What the process of a machine can still do once it is confined, and what it cannot."""

from __future__ import annotations

import errno
import json
import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.handing import hand_in
from bimetal.base.clock import Countdown
from bimetal.base.confining.landlock import version
from bimetal.base.confining.system_calls import library_version
from bimetal.base.errors import BimetalError
from bimetal.codegen.worker import Worker
from bimetal.control.domain_xml.reading import read_definition
from bimetal.control.domain_xml.writing import write_definition
from bimetal.control.handing import hand_out
from bimetal.isa.riscv import rv64
from tests.boot.bare import write_program
from tests.control.homes import LIMIT, Homes
from tests.host import lacking, programs

BREAKOUT = """
import ctypes, json, os, sys
from pathlib import Path
from bimetal.base.confining.privileges import give_up_new_privileges
from bimetal.control.confinement import confine
from bimetal.control.domain_xml.reading import read_definition

definition = read_definition(Path(sys.argv[1]).read_text())
folder, secret = Path(sys.argv[2]), sys.argv[3]
give_up_new_privileges()
confine(definition, folder, folder / "sockets", "")
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


disk = definition.disks[0].path
attempts = {
    "its disk": lambda: open(disk, "r+b").read(1),
    "its kernel": lambda: open(definition.kernel, "rb").read(1),
    "its folder": lambda: (folder / "log").write_text("x"),
    "a thread": lambda: os.pipe(),
    "its kernel, to write": lambda: open(definition.kernel, "r+b"),
    "a file of the user": lambda: open(secret),
    "a new file beside its disk": lambda: open(disk + ".new", "w"),
    "removing its disk": lambda: os.unlink(disk),
    "passwords": lambda: open("/etc/shadow"),
    "a list of the home": lambda: os.listdir(os.path.dirname(secret)),
    "a shell": lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
    "a signal": lambda: os.kill(os.getppid(), 0),
    "ptrace": lambda: call("ptrace", 16, os.getppid(), 0, 0),
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "unshare": lambda: call("unshare", 0x10000000),
    "chroot": lambda: os.chroot("/tmp"),
    "setuid": lambda: os.setuid(12345),
}
done = {}
for name, attempt in attempts.items():
    try:
        attempt()
        done[name] = True
    except OSError:
        done[name] = False
print(json.dumps(done))
"""

REGISTERS = ("t0", "t1", "t2", "a0", "a1", "a2", "s0", "s1")
MAY = {"its disk", "its kernel", "its folder", "a thread"}


@pytest.fixture(autouse=True)
def _host() -> None:
    if version() < 6 or not library_version():
        lacking("this host's kernel has no Landlock, or an old one, or there is no libseccomp")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def with_disk(homes: Homes, folder: Path) -> tuple[Path, str]:
    folder.mkdir()
    disk = folder / "disk.qcow2"
    images.create(str(disk), "4M", format="qcow2")
    device = f"<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>"
    return disk, homes.text("crab", devices=device)


def test_a_process_that_was_taken_over(homes: Homes, tmp_path: Path) -> None:
    _, text = with_disk(homes, tmp_path / "images")
    (tmp_path / "crab.xml").write_text(text)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text("secret")
    own = tmp_path / "own"
    own.mkdir()
    done = subprocess.run(
        [
            sys.executable, "-W", "error::SyntaxWarning", "-c", BREAKOUT,
            tmp_path / "crab.xml", own, tmp_path / "home" / "secret",
        ],
        env=homes.environment, capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    expected = {name: name in MAY for name in found}
    if os.getuid():
        expected["a signal"] = found["a signal"]  # to its own user's processes: Landlock 6 forbids
    assert found == expected


def test_a_machine_is_confined_and_says_so(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    seen = status(homes.places.pid("crab"))
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert {seen[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    told = homes.say("dominfo", "crab")
    assert f"Security model: Landlock {version()}, seccomp {library_version()}" in told


def test_one_that_is_not_to_be(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.say("start", "crab", "--sandbox", "off")
    assert status(homes.places.pid("crab"))["Seccomp"] == "0"
    assert "Security model: none" in homes.say("dominfo", "crab")
    homes.machines.destroy("crab")
    text = homes.machines.xml("crab").replace("accel=", "sandbox='off' accel=")
    homes.machines.define(text)
    assert read_definition(write_definition(homes.machines.definition("crab"))).sandbox == "off"
    homes.machines.start("crab")
    assert status(homes.places.pid("crab"))["Seccomp"] == "0"
    with pytest.raises(BimetalError, match="a sandbox 'no'"):
        homes.machines.define(text.replace("'off'", "'no'"))


def test_the_file_of_a_console_is_written_anew_at_each_start(homes: Homes, tmp_path: Path) -> None:
    said = tmp_path / "said"
    line = f"<serial type='file'><source path='{said}'/></serial>"
    homes.machines.define(homes.text("crab", devices=line))
    for _ in range(2):
        said.write_bytes(b"from before")
        homes.machines.start("crab")
        homes.machines.destroy("crab")
        assert said.read_bytes() != b"from before"


@programs("passt")
def test_passt_confines_itself(homes: Homes) -> None:
    nic = "<b:nic network='passt'/></b:machine>"
    homes.machines.define(homes.text("crab").replace("accel='interp'/>", f"accel='interp'>{nic}"))
    homes.machines.start("crab")
    assert "Security model: none" in homes.say("dominfo", "crab")
    log = (homes.places.state("crab") / "log").read_text()
    assert "crab is not confined: passt confines itself" in log
    assert "the far end of the cable has gone" not in log


def test_saved_anywhere_though_its_process_reaches_no_such_place(
    homes: Homes, tmp_path: Path
) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    (tmp_path / "far").mkdir()
    homes.machines.save("crab", str(tmp_path / "far" / "crab.state"))
    assert [each.name for each in (tmp_path / "far").iterdir()] == ["crab.state"]
    homes.machines.restore(str(tmp_path / "far" / "crab.state"))
    for wrong in ("/missing/crab.state", str(tmp_path)):
        with pytest.raises(BimetalError, match=r"cannot be written: .* folder"):
            homes.machines.save("crab", wrong)
    assert homes.machines.find("crab").state == "running"


def test_a_state_that_cannot_be_put_elsewhere_is_there_for_the_next_start(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")

    def full(draft: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(BimetalError, match=r"it is in .*saved: make room"):
            homes.machines.save("crab", str(tmp_path / "crab.state"))
    homes.machines.start("crab")
    assert homes.machines.find("crab").reason == "restored"


def test_a_file_on_another_file_system_is_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, target, rename = tmp_path / "draft", tmp_path / "target", os.replace
    draft.write_bytes(b"state")

    def replace(source: str, place: str) -> None:
        if source == str(draft):
            raise OSError(errno.EXDEV, "elsewhere")
        rename(source, place)

    monkeypatch.setattr(os, "replace", replace)
    hand_out(str(draft), str(target))
    assert target.read_bytes() == b"state"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


def test_images_are_handed_in_with_what_they_lie_on(homes: Homes, tmp_path: Path) -> None:
    folder = tmp_path / "far"
    folder.mkdir()
    images.create(str(folder / "base.qcow2"), "1M", format="qcow2")
    images.create(
        str(folder / "top.qcow2"), format="qcow2", backing="base.qcow2", backing_format="qcow2"
    )
    text = homes.text("crab").replace("accel='", "board='riscv-virt,ports=1' accel='")
    homes.machines.define(text)
    homes.machines.start("crab")
    image = str(folder / "top.qcow2")
    homes.say("attach-disk", "crab", image, "vdb", "--subdriver", "qcow2")
    assert homes.say("-q", "domblklist", "crab").split() == ["vdb", image]


def test_who_hands_in_what_is_no_file(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    place = str(homes.folder / "r/bimetal/crab/intake")
    for sent in (b"", b"x", b"r/etc/passwd", b"w" * 9999):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(LIMIT)
            line.connect(place)
            line.sendall(sent)
            with suppress(ConnectionResetError):  # it does not read all of that
                line.shutdown(socket.SHUT_WR)
                assert line.recv(1) == b""
    for number in range(100):
        hand_in(place, [(__file__, True)] if number % 2 else [("/dev/null", True)])
    assert homes.machines.ask("crab", "query-status")["running"]
    fds = len(os.listdir(f"/proc/{homes.places.pid('crab')}/fd"))
    assert fds < 100


def test_a_guest_that_does_anything(homes: Homes) -> None:
    """Random instructions, also at devices: the machine answers, and its process is its own."""
    chance = random.Random(5)
    for number in range(3):
        places = [f"lui {chance.choice(REGISTERS)}, 0x10000" for _ in range(8)]
        words = [(chance.getrandbits(32) | 3).to_bytes(4, "little") for _ in range(4000)]
        name = f"wild{number}"
        kernel = write_program(homes.folder / f"{name}.elf", *places, *words)
        homes.machines.define(homes.text(name, kernel))
        homes.machines.start(name)
        with homes.machines.conversation(name) as talk:
            assert "status" in talk.ask("query-status")
        assert status(homes.places.pid(name))["Seccomp"] == "2"


def test_the_translator_reaches_no_file() -> None:
    worker = Worker(rv64, shared=False)
    try:
        countdown = Countdown(LIMIT)
        while status(worker.pid)["Seccomp"] != "2":
            assert countdown.left
        assert status(worker.pid)["NoNewPrivs"] == "1"
    finally:
        worker.close()
