"""What machines that stay are defined as, and how they begin and end by themselves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from bimetal import images
from bimetal.base.errors import BimetalError
from bimetal.control.autostart import TEMPLATE, escaped
from bimetal.control.conversation import Conversation
from bimetal.control.verbs.states import snapshot_list
from tests.control.homes import Homes
from tests.host import programs


def disk(path: Path, target: str = "vda", inside: str = "") -> str:
    return (
        f"<disk type='file'><driver type='qcow2'/><source file='{path}'/>"
        f"<target dev='{target}'/>{inside}</disk>"
    )


def qcow2(path: Path) -> Path:
    images.create(str(path), "4M", format="qcow2")
    return path


def test_a_saved_state_is_gone_on_with_once(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    assert homes.say("managedsave", "crab") == "\nDomain 'crab' state saved by libvirt\n\n"
    assert "Managed save:   yes\n" in homes.say("dominfo", "crab")
    assert homes.say("-q", "list", "--all", "--managed-save").split()[-1] == "saved"
    assert homes.say("-q", "list", "--all", "--name", "--without-managed-save") == ""
    assert "Refusing to undefine" in homes.quick("undefine", "crab").err
    homes.machines.start("crab")
    assert homes.say("-q", "domstate", "crab", "--reason") == "running (restored)\n"
    assert not homes.places.saved("crab").exists()
    homes.machines.destroy("crab")
    homes.machines.start("crab")
    assert homes.machines.find("crab").reason == "booted"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("managedsave", "crab"), "bimetal-save"),
        (("snapshot-create-as", "crab", "s"), "bimetal-snapshot-save"),
    ],
)
def test_a_state_takes_as_long_as_it_takes(
    homes: Homes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: Sequence[str],
    command: str,
) -> None:
    """A large machine is not saved in the minute that an answer may take otherwise."""
    ask, limits = Conversation.ask, dict[str, float]()

    def noted(talk: Conversation, command: str, **arguments: Any) -> Any:
        limits[command] = talk._socket.gettimeout() or 0.0
        return ask(talk, command, **arguments)

    homes.machines.define(homes.text("crab", devices=disk(qcow2(tmp_path / "disk"))))
    homes.machines.start("crab")
    monkeypatch.setattr(Conversation, "ask", noted)
    homes.say(*words)
    assert limits[command] > 24 * 60 * 60
    assert limits["qmp_capabilities"] == 60, "a process that hangs is noticed"


def test_a_saved_state_that_is_not_wanted(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    homes.say("managedsave", "crab")
    homes.say("start", "crab", "--force-boot")
    assert homes.machines.find("crab").reason == "booted"
    assert not homes.machines.find("crab").saved
    homes.say("managedsave", "crab")
    removed = homes.say("managedsave-remove", "crab")
    assert removed == "Removed managedsave image for domain 'crab'\n\n"
    again = homes.say("managedsave-remove", "crab")
    assert again == "Domain 'crab' has no manage save image; removal skipped\n\n"


def test_a_state_outlives_a_start_that_fails(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    homes.say("managedsave", "crab")
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONHOME", "/missing")
        patched.setenv("PYTHONPATH", "/missing")
        with pytest.raises(BimetalError, match="has ended before"):
            homes.machines.start("crab")
    assert homes.machines.start("crab").reason == "restored"


def test_starting_with_the_host(homes: Homes) -> None:
    homes.machines.define(homes.text("my crab"))
    assert homes.say("autostart", "my crab") == "Domain 'my crab' marked as autostarted\n\n"
    units = homes.folder / "c" / "systemd" / "user"
    links = list((units / "default.target.wants").iterdir())
    assert [each.name for each in links] == ["bimetal@my\\x20crab.service"]
    assert links[0].resolve() == units / TEMPLATE
    assert "Autostart:      enable\n" in homes.say("dominfo", "my crab")
    assert homes.say("-q", "list", "--all", "--name", "--autostart") == "my crab\n"
    assert homes.say("-q", "list", "--all", "--name", "--no-autostart") == ""
    homes.say("autostart", "my crab", "--disable")
    assert "Autostart:      disable\n" in homes.say("dominfo", "my crab")
    homes.say("autostart", "my crab")
    homes.say("undefine", "my crab")
    assert not links[0].is_symlink()


@programs("systemd-analyze", "systemd-escape")
@pytest.mark.parametrize("name", ["crab", "my crab", "a-b", "Käfer", "a%b$c\\d'e", "x.y:z_1"])
def test_the_unit_is_what_systemd_takes(homes: Homes, name: str) -> None:
    told = subprocess.run(["systemd-escape", name], capture_output=True, text=True, check=True)
    assert escaped(name) == told.stdout.strip()
    homes.machines.define(homes.text(name.replace("&", "&amp;")))
    homes.say("autostart", name)
    units = homes.folder / "c" / "systemd" / "user"
    subprocess.run(["systemd-analyze", "verify", "--user", str(units / TEMPLATE)], check=True)
    text = (units / TEMPLATE).read_text()
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert line.endswith(" -P -m bimetal start %I")


def test_another_name(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    uuid = homes.machines.definition("crab").uuid
    homes.machines.define(homes.text("fly"))
    homes.say("autostart", "crab")
    assert homes.say("domrename", "crab", "whale") == "Domain successfully renamed\n\n"
    assert homes.machines.definition("whale").uuid == uuid
    assert homes.say("-q", "list", "--all", "--name", "--autostart") == "whale\n"
    with pytest.raises(BimetalError, match="already exists"):
        homes.machines.rename("whale", "fly")
    homes.machines.start("whale")
    with pytest.raises(BimetalError, match="cannot rename active domain"):
        homes.machines.rename("whale", "crab")


def test_a_client_that_is_killed_while_it_renames(homes: Homes) -> None:
    """The name of the file is the name of the machine."""
    homes.machines.define(homes.text("crab"))
    homes.places.definition("crab").rename(homes.places.definition("whale"))
    assert homes.machines.definition("whale").name == "whale"
    assert homes.machines.start("whale").state == "running"
    assert [each.name for each in homes.machines] == ["whale"]


def test_undefining_removes_what_belongs_to_it_alone(homes: Homes, tmp_path: Path) -> None:
    names = ("own", "base", "shared", "iso")
    own, base, shared, iso = (qcow2(tmp_path / f"{name}.qcow2") for name in names)
    images.create(str(tmp_path / "top.qcow2"), format="qcow2", backing=str(base),
                  backing_format="qcow2")  # fmt: skip
    cd = disk(iso, "sda").replace("'file'>", "'file' device='cdrom'>", 1)
    homes.machines.define(
        homes.text(
            "crab", devices=disk(own) + disk(shared, "vdb") + disk(base, "vdc", "<readonly/>") + cd
        )
    )
    homes.machines.define(
        homes.text("fly", devices=disk(shared) + disk(tmp_path / "top.qcow2", "vdb"))
    )
    told = homes.say("undefine", "crab", "--remove-all-storage", "--nvram")
    assert told.splitlines()[:5] == [
        "Domain 'crab' has been undefined",
        f"Volume 'vda'({own}) removed.",
        f"Volume 'vdb'({shared}) stays: another machine has it.",
        f"Volume 'vdc'({base}) stays: it is only read.",
        f"Volume 'sda'({iso}) stays: it is only read.",
    ]
    assert not own.exists()
    assert all(each.exists() for each in (base, shared, iso))


def test_one_of_its_disks(homes: Homes, tmp_path: Path) -> None:
    one, two = qcow2(tmp_path / "1.qcow2"), qcow2(tmp_path / "2.qcow2")
    homes.machines.define(homes.text("crab", devices=disk(one) + disk(two, "vdb")))
    assert homes.quick("undefine", "crab", "--storage", "vdx").code == 1
    homes.say("undefine", "crab", "--storage", "vdb", "--snapshots-metadata")
    assert one.exists()
    assert not two.exists()


def test_more_cpus_from_the_next_start_on(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    assert homes.quick("setvcpus", "crab", "3").code == 1
    homes.say("setvcpus", "crab", "3", "--maximum", "--config")
    assert homes.machines.definition("crab").cpus == 3
    homes.say("setvcpus", "crab", "2")
    assert homes.machines.definition("crab").cpus == 2
    for wrong in ("0", "-1", "x", "٣"):
        assert homes.quick("setvcpus", "crab", "--", wrong).code == 1


def test_devices_of_the_definition(homes: Homes, tmp_path: Path) -> None:
    image = qcow2(tmp_path / "x.qcow2")
    homes.machines.define(homes.text("crab"))
    homes.say("attach-disk", "crab", str(image), "vdb", "--subdriver", "qcow2", "--config")
    homes.say("attach-interface", "crab", "user", "--mac", "52:54:00:11:22:33", "--config")
    rows = homes.say("domiflist", "crab").splitlines()
    assert rows[0].split() == ["Interface", "Type", "Source", "Model", "MAC"]
    assert rows[2].split() == ["-", "user", "-", "virtio", "52:54:00:11:22:33"]
    assert [each.target for each in homes.machines.definition("crab").disks] == ["vdb"]
    file = tmp_path / "nic.xml"
    file.write_text("<interface type='user'><mac address='52:54:00:11:22:34'/></interface>")
    assert homes.say("attach-device", "crab", str(file)) == "Device attached successfully\n\n"
    assert homes.quick("attach-disk", "crab", str(image), "vdb").code == 1
    assert homes.quick("detach-interface", "crab", "user").code == 1
    homes.say("detach-interface", "crab", "user", "--mac", "52:54:00:11:22:33")
    homes.say("detach-device", "crab", str(file))
    homes.say("detach-disk", "crab", "vdb")
    definition = homes.machines.definition("crab")
    assert (definition.disks, definition.nics) == ((), ())
    assert homes.quick("detach-disk", "crab", "vdb").code == 1


def test_a_nic_is_plugged_in(homes: Homes) -> None:
    homes.machines.define(
        homes.text("crab").replace("accel='", "board='riscv-virt,ports=1' accel='")
    )
    homes.machines.start("crab")
    words = ("attach-interface", "crab", "user", "--mac", "52:54:00:11:22:33")
    assert homes.say(*words) == "Interface attached successfully\n\n"
    assert homes.quick(*words).code == 1
    with homes.machines.conversation("crab") as talk:
        talk.ask("device_del", id="net-52:54:00:11:22:33", force=True)
    assert homes.machines.definition("crab", inactive=True).nics == ()


def test_states_of_disks_of_a_machine_that_is_off(homes: Homes, tmp_path: Path) -> None:
    one, two = qcow2(tmp_path / "1.qcow2"), qcow2(tmp_path / "2.qcow2")
    homes.machines.define(homes.text("crab", devices=disk(one) + disk(two, "vdb")))
    assert homes.say("snapshot-create-as", "crab", "clean").startswith("Domain snapshot clean")
    assert homes.quick("snapshot-create-as", "crab", "clean").code == 1
    row = homes.say("snapshot-list", "crab").splitlines()[2].split()
    assert (row[0], row[-1]) == ("clean", "shutoff")
    images.resize(str(two), "8M")
    homes.say("snapshot-revert", "crab", "clean")
    assert images.information(str(two)).size == 4 << 20
    missing = homes.quick("snapshot-revert", "crab", "dirty")
    assert missing.err.startswith("error: Domain snapshot not found: no domain snapshot with")
    homes.machines.start("crab")
    homes.say("snapshot-create-as", "crab", "live")
    unnamed = homes.say("snapshot-create-as", "crab").split()[2]
    assert unnamed.isdecimal()
    assert homes.say("snapshot-list", "crab").count(unnamed) == 1
    homes.say("snapshot-delete", "crab", unnamed)
    again = homes.quick("snapshot-create-as", "crab", "live")
    assert again.err.startswith("error: domain snapshot live already exists")
    homes.machines.destroy("crab")
    assert "while it ran" in homes.quick("snapshot-revert", "crab", "live").err
    homes.say("snapshot-delete", "crab", "clean")
    assert [each.name for each in images.snapshots(str(two))] == ["live"]


SAID = "as it was <before>"


@programs("virsh")
def test_what_is_said_of_a_state(homes: Homes, tmp_path: Path) -> None:
    image = qcow2(tmp_path / "1.qcow2")
    homes.machines.define(homes.text("crab", devices=disk(image)))
    homes.say("snapshot-create-as", "crab", "one", SAID)
    homes.say("snapshot-create-as", "crab", "two", "--description", "as it was <after>")
    homes.say("domrename", "crab", "whale")
    ours = etree.fromstring(homes.say("snapshot-dumpxml", "whale", "one"))
    schema = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/domainsnapshot.rng"))
    assert schema.validate(ours), schema.error_log
    line = f"snapshot-create-as test one '{SAID}'; snapshot-dumpxml test one"
    told = subprocess.run(
        ["virsh", "-q", "-c", "test:///default", line],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    theirs = etree.fromstring(told[told.index("<domainsnapshot>") :])
    for tag in ("name", "description"):
        assert ours.findtext(tag) == theirs.findtext(tag)
    assert ours.findtext("state") == "shutoff"
    assert described(homes) == {"one": SAID, "two": "as it was <after>"}
    homes.machines.start("whale")
    homes.say("snapshot-create-as", "whale", "three", "--description", "while it ran")
    assert described(homes) == {"three": "while it ran"}  # which alone it can go back to now
    assert "<state>running</state>" in homes.say("snapshot-dumpxml", "whale", "three")
    homes.say("snapshot-delete", "whale", "three")
    homes.say("snapshot-create-as", "whale", "three")
    assert "<description>" not in homes.say("snapshot-dumpxml", "whale", "three")
    assert homes.quick("snapshot-dumpxml", "whale", "four").code == 1
    for wrong in (("x", "--description", "\x01"), ("x", "y", "--disk-only")):
        assert homes.quick("snapshot-create-as", "whale", *wrong).code == 1


def described(homes: Homes) -> dict[str, str]:
    """What was said of the states that a machine can go back to."""
    return {each.name: each.description for each in snapshot_list(homes.machines, "whale")}


def test_editing(homes: Homes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    homes.machines.define(homes.text("crab"))
    before = homes.places.definition("crab").read_text()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    assert "not changed" in homes.virsh("edit", "crab")
    monkeypatch.setenv("EDITOR", "sed -i s/>16</>32</")
    assert "configuration edited" in homes.virsh("edit", "crab")
    assert homes.machines.definition("crab").memory == 32 << 20
    monkeypatch.setenv("VISUAL", "sed -i s/hvm/xen/")
    after = homes.places.definition("crab").read_text()
    failed = homes.run("edit", "crab")
    assert failed.code == 65
    drafts = list(tmp_path.glob("bimetal-crab-*.xml"))
    assert len(drafts) == 1
    assert str(drafts[0]) in failed.err
    assert "xen" in drafts[0].read_text()
    assert homes.places.definition("crab").read_text() == after != before
    monkeypatch.setenv("VISUAL", "sed -i s/crab/whale/")
    assert "domrename" in homes.run("edit", "crab").err


def test_the_host(homes: Homes) -> None:
    lines = homes.say("nodeinfo").splitlines()
    assert [line.partition(":")[0] for line in lines if line] == [
        "CPU model", "CPU(s)", "CPU frequency", "CPU socket(s)", "Core(s) per socket",
        "Thread(s) per core", "NUMA cell(s)", "Memory size",
    ]  # fmt: skip
    assert f"{'CPU(s):':20} {os.cpu_count()}" in lines
    assert "<os_type>hvm</os_type>" in homes.say("capabilities")
    assert '<vcpu max="' in homes.say("domcapabilities", "--arch", "riscv64")
    assert homes.quick("domcapabilities", "--arch", "vax").code == 1
    assert homes.say("net-list").splitlines()[2].split() == ["user", "active", "yes", "yes"]


@programs("virsh")
@pytest.mark.parametrize(
    "words",
    [
        "nodeinfo",
        "net-list",
        "domiflist crab",
        "snapshot-list crab",
        "list --all",
        "domblklist crab",
    ],
)
def test_columns_are_those_of_virsh(homes: Homes, words: str) -> None:
    homes.machines.define(homes.text("crab"))
    theirs = subprocess.run(
        ["virsh", "-c", "test:///default", *words.replace("crab", "test").split()],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    ours = homes.say(*words.split())
    assert names_of(ours, words) == names_of(theirs, words)


def names_of(text: str, words: str) -> list[str]:
    """The heads of the columns, or the names of the lines."""
    lines = text.splitlines()
    if words == "nodeinfo":
        return [line.partition(":")[0] for line in lines]
    return [each.strip() for each in lines[0].split("  ") if each.strip()]


def test_why_a_machine_is_slow(homes: Homes) -> None:
    homes.machines.define(homes.text("crab", homes.echo))
    homes.machines.start("crab")
    told = homes.say("explain", "crab", "--seconds", "0.3")
    assert told.startswith("in 0.")
    assert "\nno KVM: the accelerator is interp: " in told
    assert "\nexits: uart@10000000: " in told
    for wrong in ("0", "x", "1e9", "nan"):
        assert homes.quick("explain", "crab", "--seconds", wrong).code == 1


def test_addresses(homes: Homes) -> None:
    """Of a guest that has not asked for one; which are handed out is the user network's matter."""
    homes.machines.define(homes.text("crab", devices="<interface type='user'/>"))
    homes.machines.start("crab")
    head, _, *rows = homes.say("domifaddr", "crab").splitlines()
    assert head.split() == ["Name", "MAC", "address", "Protocol", "Address"]
    assert [row for row in rows if row] == []
    assert homes.quick("domifaddr", "crab", "--source", "agent").code == 1
