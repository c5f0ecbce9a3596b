"""What the NICs of forks have: nothing, or networks and addresses of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.net.choose import open_network
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import Frame
from bimetal.machine.machine import Machine
from tests.backends.net.station import Station, turn_until
from tests.backends.net.test_dgram import free_port
from tests.devices.virtio.cable import Cable
from tests.machine.conftest import LIMIT, Script
from tests.machine.test_forks import busy
from tests.machine.test_nics import nics

FORWARD = "tcp::0-:22"


def started(script: Script, *networks: Any, **options: Any) -> Machine:
    board = script([busy], **options)
    for network in networks:
        board.machine.nic(network)
    board.machine.start()
    return board.machine


def dial(forward: Forwarded) -> socket.socket:
    return socket.create_connection((forward.host, forward.port), timeout=LIMIT)


def macs(vm: Machine) -> list[str]:
    return [nic.own_mac.hex(":") for nic in nics(vm)]


def told(fork_work: Callable[[Machine], str], vm: Machine, tmp_path: Path, **how: Any) -> list[str]:
    """What ``fork_work`` returns in two forks."""

    def work(mine: Machine, number: int) -> None:
        (tmp_path / f"told-{number}").write_text(fork_work(mine))

    with vm.fork(2, work, **how) as forks:
        for fork in forks:
            assert os.waitpid(fork.pid, 0)[1] == 0
    return [(tmp_path / f"told-{number}").read_text() for number in range(2)]


def test_a_fork_does_not_hold_what_its_original_gives_back(script: Script, tmp_path: Path) -> None:
    path = tmp_path / "cable"
    vm = started(script, f"stream,listen=unix:{path}", f"user,hostfwd={FORWARD}")
    (forward,) = vm.forwards
    with socket.socket(socket.AF_UNIX) as far, vm.fork() as (fork,):
        assert fork.forwards == []
        far.settimeout(LIMIT)
        far.connect(str(path))
        vm.close()
        assert fork.running
        assert far.recv(1) == b""
        with socket.create_server((forward.host, forward.port)):
            pass


def test_forks_with_networks_of_their_own_have_ports_of_their_own(
    script: Script, tmp_path: Path
) -> None:
    vm = started(script, f"user,hostfwd={FORWARD},capture={tmp_path / 'capture'}")
    with vm.fork(2, networks="forked") as forks:
        where = [*vm.forwards, *(each for fork in forks for each in fork.forwards)]
        assert len({each.port for each in where}) == 3
        assert {each.guest_port for each in where} == {22}
        for each in where:
            with dial(each):
                pass
    for each in where[1:]:
        with pytest.raises(ConnectionRefusedError):
            dial(each)


def test_a_cable_that_was_pulled_out_is_so_in_forks(script: Script, tmp_path: Path) -> None:
    vm = started(script, "user", "user")
    pulled, other = macs(vm)
    vm.set_link("nic0", False)

    def put_in(mine: Machine) -> str:
        before = mine.links()
        mine.set_link("nic0", True)
        return str([*before.values(), *mine.links().values()])

    expected = {"forked": [False, True, True, True], "detached": [False, False, False, False]}
    for networks, links in expected.items():
        assert told(put_in, vm, tmp_path, networks=networks) == [str(links)] * 2
    assert vm.links() == {pulled: False, other: True}


def test_a_pool_can_have_them_too(script: Script) -> None:
    vm = started(script, f"user,hostfwd={FORWARD}")
    with vm.pool(networks="forked") as pool, pool.machine() as fork:
        with dial(fork.forwards[0]):
            pass
        assert fork.forwards != vm.forwards


def test_forks_can_be_in_the_same_group(script: Script, tmp_path: Path) -> None:
    words = [("mcast", f"239.255.77.3:{free_port()}"), ("localaddr", "127.0.0.1")]
    vm = started(script, "socket," + ",".join(map("=".join, words)))
    station = Station(open_network("socket", words), reactor := Reactor())

    def speak(mine: Machine) -> str:
        (nic,) = nics(mine)
        return str(nic._network.send([Frame([nic.own_mac * 10])]))

    assert told(speak, vm, tmp_path, networks="forked") == ["1", "1"]
    turn_until(reactor, lambda: len(station.frames) == 2)
    assert station.frames == [nics(vm)[0].own_mac * 10] * 2
    station.network.close()
    reactor.close()


@pytest.mark.parametrize("network", ["stream,listen=127.0.0.1:0", "passt", "own"])
def test_what_has_one_owner_cannot_be_forked(
    script: Script, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = started(script, Cable() if network == "own" else network)
    with pytest.raises(BimetalError, match="of which no fork can have another one") as caught:
        vm.fork(networks="forked")
    assert "networks='detached'" in caught.value.remedy
    with pytest.raises(BimetalError, match="cannot have networks that are 'forkd'") as caught:
        vm.fork(networks="forkd")
    assert "forked" in caught.value.remedy
    with vm.fork() as (fork,):
        assert fork.running


def test_forks_have_new_addresses_where_asked(script: Script, tmp_path: Path) -> None:
    vm = started(script, "user", "user")
    before = macs(vm)
    same = told(lambda mine: " ".join(macs(mine)), vm, tmp_path)
    assert same == [" ".join(before)] * 2
    new = told(lambda mine: " ".join(macs(mine)), vm, tmp_path, new_macs=True)
    every = [*before, *" ".join(new).split()]
    assert len(set(every)) == 6
    assert all(int(mac[:2], 16) & 3 == 2 for mac in every), "one station, locally administered"
    assert macs(vm) == before


def test_a_new_address_is_kept_when_its_fork_is_saved(script: Script, tmp_path: Path) -> None:
    vm = started(script, "user")

    def save(mine: Machine) -> str:
        path = str(tmp_path / str(os.getpid()))
        mine.save(path, stop=True)
        return f"{path} {macs(mine)[0]}"

    for path, mac in map(str.split, told(save, vm, tmp_path, new_macs=True)):
        again = Machine.restore(path, accel=ScriptAccelerator())
        assert macs(again) == [mac]
        again.close()


def test_what_is_restored_has_new_addresses_where_asked(script: Script, tmp_path: Path) -> None:
    vm = started(script, "user", "user,mac=02:00:00:00:00:01")
    vm.save(tmp_path / "saved", stop=True)
    made = []
    for new_macs in (False, True, True):
        again = Machine.restore(
            tmp_path / "saved", accel=ScriptAccelerator(), trust=True, new_macs=new_macs
        )
        made.append(macs(again))
        again.close()
    assert made[0] == macs(vm)
    assert len({mac for each in made for mac in each}) == 6


def test_a_plugged_nic_has_a_new_address_too(script: Script, tmp_path: Path) -> None:
    vm = started(script, "user", board="riscv-virt,ports=1")
    vm.plug_nic("user", hostfwd=FORWARD)

    def tell(mine: Machine) -> str:
        plugged = mine._parts.built().hardware.sockets.plugged()  # type: ignore[union-attr]
        assert plugged[0].mac is not None
        assert macs(mine)[1] == plugged[0].mac.hex(":")
        return f"{macs(mine)[1]} {mine.forwards[0].port}"

    first, second = told(tell, vm, tmp_path, networks="forked", new_macs=True)
    for one, other in zip(first.split(), second.split(), strict=True):
        assert one != other
