"""Verbs for pools: folders with images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.machines import Machines
from bimetal.control.verbs.registry import HOST

if TYPE_CHECKING:
    from bimetal.control.pool_parts import Pool
    from bimetal.control.pools import Pools

__all__ = ["PoolFacts", "pools_of"]

Called = Annotated[str, "the pool: its name, or its UUID"]
Name = Annotated[str, "what to call it"]
Kind = Annotated[str, "what it is: dir, a folder"]
Folder = Annotated[str, "the path of the folder"]

KINDS = ("dir",)


@dataclass(frozen=True)
class PoolFacts:
    """A pool: its name, folder and identity, and bytes: all that its file system has, those in use,
    and those that are free."""

    name: str
    path: str
    uuid: str
    active: bool
    autostart: bool
    persistent: bool
    capacity: int
    allocation: int
    available: int


def pools_of(machines: Machines) -> Pools:
    """The pools of the user."""
    found: Pools = late("bimetal.control.pools:Pools")(machines.places)
    return found


@HOST.command("pool-list", safe=True)
def pool_list(
    machines: Machines,
    all: Annotated[bool, "those that are not in use too"] = False,
    inactive: Annotated[bool, "only those that are not in use"] = False,
) -> list[PoolFacts]:
    """List the pools in use, or all of them."""
    found = [_facts(pool) for pool in pools_of(machines)]
    return [each for each in found if all or each.active != inactive]


@HOST.command("pool-info", safe=True)
def pool_info(machines: Machines, pool: Called) -> PoolFacts:
    """Tell of a pool: its state, and how much room it has."""
    return _facts(pools_of(machines).find(pool))


@HOST.command("pool-define-as")
def pool_define_as(machines: Machines, name: Name, type: Kind, target: Folder = "") -> PoolFacts:
    """Call a folder a pool."""
    _check(type, target)
    return _facts(pools_of(machines).define(name, target))


@HOST.command("pool-create-as")
def pool_create_as(machines: Machines, name: Name, type: Kind, target: Folder = "") -> PoolFacts:
    """Call a folder a pool, and use it, until it is used no more."""
    _check(type, target)
    pools = pools_of(machines)
    pool = pools.define(name, target, persistent=False)
    try:
        pools.build(pool)
    except BimetalError:
        pools.undefine(pool)
        raise
    pools.set_active(pool, True)
    return _facts(pools.find(name))


@HOST.command("pool-build")
def pool_build(machines: Machines, pool: Called) -> PoolFacts:
    """Make the folder of a pool."""
    pools = pools_of(machines)
    found = pools.find(pool)
    pools.build(found)
    return _facts(found)


@HOST.command("pool-start")
def pool_start(
    machines: Machines, pool: Called, build: Annotated[bool, "make its folder first"] = False
) -> PoolFacts:
    """Use a pool."""
    pools = pools_of(machines)
    found = pools.find(pool)
    if build:
        pools.build(found)
    pools.set_active(found, True)
    return _facts(found)


@HOST.command("pool-destroy")
def pool_destroy(machines: Machines, pool: Called) -> PoolFacts:
    """Use a pool no more. What is in it stays."""
    pools = pools_of(machines)
    found = pools.find(pool)
    pools.set_active(found, False)
    return _facts(found)


@HOST.command("pool-undefine")
def pool_undefine(machines: Machines, pool: Called) -> PoolFacts:
    """Forget a pool that is not in use. What is in it stays."""
    pools = pools_of(machines)
    found = pools.find(pool)
    pools.undefine(found)
    return _facts(found)


@HOST.command("pool-autostart")
def pool_autostart(
    machines: Machines, pool: Called, disable: Annotated[bool, "do not"] = False
) -> PoolFacts:
    """Note that a pool is to be used by itself: one that is in use is so anyway."""
    pools = pools_of(machines)
    found = pools.find(pool)
    pools.set_autostart(found, not disable)
    return _facts(found)


@HOST.command("pool-refresh")
def pool_refresh(machines: Machines, pool: Called) -> PoolFacts:
    """Accepted: what is in a pool is looked at each time."""
    return pool_info(machines, pool)


@HOST.command("pool-uuid", safe=True)
def pool_uuid(machines: Machines, pool: Called) -> PoolFacts:
    """Tell the UUID of a pool."""
    return pool_info(machines, pool)


@HOST.command("pool-name", safe=True)
def pool_name(machines: Machines, pool: Called) -> PoolFacts:
    """Tell the name of a pool."""
    return pool_info(machines, pool)


def _facts(pool: Pool) -> PoolFacts:
    capacity, available = pool.room
    return PoolFacts(
        pool.name, pool.path, pool.uuid, pool.active, pool.autostart, pool.persistent, capacity,
        capacity - available, available,
    )  # fmt: skip


def _check(kind: str, target: str) -> None:
    if kind not in KINDS:
        raise BimetalError(f"there are no pools of the type {kind[:40]!r}", "dir", ExitCode.USAGE)
    if not target:
        raise BimetalError("nothing says where the folder is", "--target PATH", ExitCode.USAGE)
