"""NICs as they are asked for, in Python and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.base.errors import BimetalError
from bimetal.devices.virtio.net import VirtioNet
from bimetal.machine.machine import Machine
from bimetal.machine.nics import Nic, default_mac, nic_from
from tests.devices.virtio.cable import Cable

MAC = "52:54:00:AB:cd:01"


def machine(board: str = "riscv-virt") -> Machine:
    return Machine(board, accel=ScriptAccelerator(), bios="none", memory="16M")


def nics(vm: Machine) -> list[VirtioNet]:
    """The NICs of a machine, built, in their order."""
    placements = vm._parts.furnished().placements
    parts = [part for placement in placements for part in placement.device.parts()]
    return [part for part in parts if isinstance(part, VirtioNet)]


def test_a_text_and_options_say_the_same() -> None:
    text = f"stream,listen=:0,mac={MAC},mtu=1400,queues=2,speed=100,model=virtio,capture=a,,b"
    wanted = Nic(
        "stream", (("listen", ":0"),), None, bytes.fromhex("525400abcd01"), 1400, 100, 2, "a,b"
    )
    assert nic_from(text) == wanted
    options: dict[str, Any] = {"mac": MAC, "mtu": 1400, "queues": 2, "speed": 100, "capture": "a,b"}
    assert nic_from("stream", {**options, "listen": ":0"}) == wanted
    assert nic_from("stream", {"listen": ["a", "b"], "server": True, "mtu": None}) == Nic(
        "stream", (("listen", "a"), ("listen", "b"), ("server", "on"))
    )
    assert nic_from("none") is None
    assert nic_from("user,mtu=9000") == Nic("user", (("mtu", "9000"),)), "which tells the card"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("strem", "'strem' is no network"),
        ("", "is no network"),
        ("stream,mac=52:54:00:00:00", "is not a MAC address"),
        ("stream,mac=53:54:00:00:00:01", "is the address of a group"),
        ("stream,mac=00:00:00:00:00:00", "is no address"),
        ("stream,mac=", "mac= has no value"),
        (f"stream,mac={MAC},mac={MAC}", "mac= stands twice"),
        ("stream,model=e1000", "no model 'e1000'"),
        ("stream,mtu=67", "mtu=67 is not right"),
        ("stream,queues=17", "queues=17 is not right"),
        ("stream,speed=fast", "speed=fast is not right"),
        ("none,hostfwd=x", "'hostfwd' means nothing"),
    ],
)
def test_what_cannot_be_is_told_at_once(text: str, cause: str) -> None:
    with machine() as vm, pytest.raises(BimetalError, match=cause) as caught:
        vm.nic(text)
    assert caught.value.remedy


@pytest.mark.parametrize("board", ["riscv-virt", "arm-virt", "microvm"])
def test_several_nics_each_with_its_cable(board: str) -> None:
    first, second = Cable(), Cable(mtu=9000)
    with machine(board) as vm:
        vm.nic(first, mac=MAC)
        vm.nic(second, queues=4)
        assert len(nics(vm)) == 2
        assert nics(vm)[0].config[:6] == bytes.fromhex("525400abcd01")
        assert len(nics(vm)[1].queues) == 9
    assert first.closed
    assert second.closed


def test_what_is_wrong_with_a_network_is_told_before_the_start_and_nothing_stays_open() -> None:
    cable = Cable()
    with machine() as vm:
        vm.nic(cable)
        vm.nic("stream", connect="unix:/nowhere/cable")
        with pytest.raises(BimetalError, match="nobody answers"):
            vm.device_tree()
        assert cable.closed


def test_a_capture_that_cannot_be_closes_its_network() -> None:
    cable = Cable()
    with machine() as vm:
        vm.nic(cable, capture="/nowhere/trace")
        with pytest.raises(BimetalError, match="cannot be written"):
            vm.device_tree()
        assert cable.closed


def test_more_nics_than_slots() -> None:
    cables = [Cable() for _ in range(8)]
    with machine() as vm:
        for cable in cables:
            vm.nic(cable)
        with pytest.raises(BimetalError, match="do not fit"):
            vm.device_tree()
    assert all(cable.closed for cable in cables)


def test_two_nics_with_one_address_are_refused() -> None:
    with machine() as vm:
        vm.nic(Cable(), mac=MAC)
        vm.nic(Cable(), mac=MAC)
        with pytest.raises(BimetalError, match="two NICs have the address"):
            vm.device_tree()


def test_addresses_that_nobody_chose_are_stable_local_and_differ() -> None:
    def mac(kind: str, number: int = 0, mark: str = "root.img", **words: str) -> bytes:
        return default_mac(Nic(kind, tuple(words.items())), number, [mark])

    assert mac("user") == mac("user", mark="other") == bytes.fromhex("525400123456")
    assert mac("user", 1) == bytes.fromhex("525400123457")
    listening = mac("stream", listen=":1234")
    assert listening == mac("stream", listen=":1234")
    others = [
        mac("user"),
        mac("stream", connect=":1234"),
        mac("stream", 1, listen=":1234"),
        mac("stream", mark="other", listen=":1234"),
    ]
    assert listening not in others
    for address in (listening, *others):
        assert address[0] & 3 == 2, "individual, locally administered"
