"""Commands that libvirt and people send now and then: processors, sets of descriptors."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from bimetal import images
from tests.control.emulator.programs import probed
from tests.control.talker import Talker

Talking = Talker


@pytest.mark.parametrize(
    ("isa", "model", "features"),
    [
        ("riscv64", "rv64", {"zbb", "zicond"}),
        ("riscv64", "max", {"zba"}),
        ("aarch64", "max", {"pauth", "pauth-impdef"}),
        ("aarch64", "cortex-a57", set()),
    ],
)
def test_what_a_processor_model_has(
    isa: str, model: str, features: set[str], launchers: Path, tmp_path: Path
) -> None:
    with probed(launchers / f"qemu-system-{isa}", tmp_path) as talker:
        told = talker.value("query-cpu-model-expansion", type="full", model={"name": model})
        assert told["model"]["name"] == model
        assert features <= told["model"]["props"].keys()
        assert all(told["model"]["props"].values())
        for name in features:
            less = {"name": model, "props": {name: False}}
            told = talker.value("query-cpu-model-expansion", type="full", model=less)
            assert told["model"]["props"][name] is False
        for kind, asked, why in (
            ("static", {"name": model}, "expansion type is not supported"),
            ("full", {"name": "z80"}, "is not a recognized CPU type"),
            ("full", {"name": model, "props": {"turbo": True}}, "turbo' not found"),
        ):
            refused = talker.refused("query-cpu-model-expansion", type=kind, model=asked)
            assert why in refused[1]


def test_x86s_models_say_which_features_they_have(launchers: Path, tmp_path: Path) -> None:
    with probed(launchers / "qemu-system-x86_64", tmp_path) as talker:
        asked = {"name": "Nehalem", "props": {"aes": True, "popcnt": False}}
        told = talker.value("query-cpu-model-expansion", type="full", model=asked)
        found = {name: told["model"]["props"][name] for name in ("sse4_2", "avx", "aes", "popcnt")}
        assert found == {"sse4_2": True, "avx": False, "aes": True, "popcnt": False}


def test_what_boards_do_not_have(talker: Talker) -> None:
    assert "does not support hot-plugging" in talker.refused("query-hotpluggable-cpus")[1]
    assert "does not provide NMIs" in talker.refused("inject-nmi")[1]
    assert talker.value("query-stats", target="vm") == []
    assert talker.value("query-stats-schemas") == []
    assert {"name": "STOP"} in talker.value("query-events")


def add(talker: Talker, path: Path, flags: int, **arguments: object) -> dict[str, object]:
    descriptor = os.open(path, flags)
    message = json.dumps({"execute": "add-fd", "arguments": arguments})
    socket.send_fds(talker.socket, [message.encode()], [descriptor])
    os.close(descriptor)
    answer = talker.answer()["return"]
    assert isinstance(answer, dict)
    return answer


def test_sets_of_descriptors(talker: Talker, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    images.create(str(disk), "1M", format="raw")
    first = add(talker, disk, os.O_RDWR, opaque="rw:disk")
    number = first["fdset-id"]
    second = add(talker, disk, os.O_RDONLY, **{"fdset-id": number})
    assert talker.value("query-fdsets") == [
        {
            "fdset-id": number,
            "fds": [{"fd": first["fd"], "opaque": "rw:disk"}, {"fd": second["fd"]}],
        }
    ]
    node = {"driver": "raw", "node_name": "d", "file": {"driver": "file"}}
    node["file"] = {"driver": "file", "filename": f"/dev/fdset/{number}"}
    talker.value("blockdev-add", **node)
    assert "no descriptor came" in talker.refused("add-fd")[1]
    assert "no such descriptor" in talker.refused("remove-fd", fdset_id=99)[1]
    assert "no such descriptor" in talker.refused("remove-fd", fdset_id=number, fd=12345)[1]
    talker.value("remove-fd", fdset_id=number, fd=first["fd"])
    assert len(talker.value("query-fdsets")[0]["fds"]) == 1
    talker.value("remove-fd", fdset_id=number)
    assert talker.value("query-fdsets") == []


def test_an_image_by_a_set_of_descriptors(talker: Talker, tmp_path: Path) -> None:
    """What is asked for is opened by the descriptor that can be used so, and by no path."""
    from_elsewhere = tmp_path / "disk.raw"
    images.create(str(from_elsewhere), "1M", format="raw")
    number = add(talker, from_elsewhere, os.O_RDONLY)["fdset-id"]
    from_elsewhere.unlink()
    path = f"/dev/fdset/{number}"
    assert images.information(path, format="raw").size == 1 << 20
    talker.value("remove-fd", fdset_id=number)
