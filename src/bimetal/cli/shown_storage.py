"""What is printed of pools and volumes: virsh's lines and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bimetal.cli.columns import Given, Shown, message, table
from bimetal.control.pool_parts import Volume
from bimetal.control.verbs.pools import PoolFacts

__all__ = ["STORAGE"]

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_of(count: int, *, exact: bool = False, unit: str = "") -> str:
    """Bytes, as virsh writes them."""
    if exact:
        return f"{count}{unit}"
    size, number = float(count), 0
    while size >= 1024 and number < len(UNITS) - 1:
        size, number = size / 1024, number + 1
    return f"{size:.2f} {UNITS[number]}"


def yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def pools_of(pools: Sequence[PoolFacts], given: Given) -> str:
    if given["name"] or given["uuid"]:
        return "".join(f"{each.name if given['name'] else each.uuid}\n" for each in pools)
    state = {True: "running" if given["details"] else "active", False: "inactive"}
    head = ["Name", "State", "Autostart"]
    rows = [[each.name, state[each.active], yes(each.autostart)] for each in pools]
    if given["details"]:
        head += ["Persistent", "Capacity", "Allocation", "Available"]
        for row, each in zip(rows, pools, strict=True):
            sizes = (each.capacity, each.allocation, each.available)
            shown = [size_of(size) if each.active else "-" for size in sizes]
            row += [yes(each.persistent), *shown]
    return table(head, rows, quiet=given["quiet"])


def pool_of(pool: PoolFacts, given: Given) -> str:
    lines = {
        "Name": pool.name,
        "UUID": pool.uuid,
        "State": "running" if pool.active else "inactive",
        "Persistent": yes(pool.persistent),
        "Autostart": yes(pool.autostart),
    }
    if pool.active:
        for name, size in (
            ("Capacity", pool.capacity),
            ("Allocation", pool.allocation),
            ("Available", pool.available),
        ):
            lines[name] = size_of(size, exact=given["bytes"])
    return "".join(f"{name + ':':15} {value}\n" for name, value in lines.items())


def volumes_of(volumes: Sequence[Volume], given: Given) -> str:
    head, rows = ["Name", "Path"], [[each.name, each.path] for each in volumes]
    if given["details"]:
        head += ["Type", "Capacity", "Allocation"]
        for row, each in zip(rows, volumes, strict=True):
            row += ["file", size_of(each.capacity), size_of(each.allocation)]
    return table(head, rows, quiet=given["quiet"])


def volume_of(volume: Volume, given: Given) -> str:
    exact = given["bytes"]
    lines = {
        "Name": volume.name,
        "Type": "file",
        "Capacity": size_of(volume.capacity, exact=exact, unit=" bytes"),
        "Allocation": size_of(volume.allocation, exact=exact, unit=" bytes"),
    }
    return "".join(f"{name + ':':15} {value}\n" for name, value in lines.items())


def about_pool(text: str) -> Shown:
    """A message about a pool, whose name it has in the place of ``{}``."""
    return Shown(lambda pool, given: text.format(pool.name) + "\n", message=True)


LINE = Shown(lambda text, given: f"{text}\n")
BYTES = {"bytes": "sizes in bytes"}

STORAGE: Mapping[str, Shown] = {
    "pool-list": Shown(
        pools_of,
        {
            "name": "only the names",
            "uuid": "only the UUIDs",
            "details": "how much room each has, too",
        },
    ),
    "pool-info": Shown(pool_of, BYTES),
    "pool-define-as": about_pool("Pool {} defined"),
    "pool-create-as": about_pool("Pool {} created"),
    "pool-build": about_pool("Pool {} built"),
    "pool-start": about_pool("Pool {} started"),
    "pool-destroy": about_pool("Pool {} destroyed"),
    "pool-undefine": about_pool("Pool {} has been undefined"),
    "pool-refresh": about_pool("Pool {} refreshed"),
    "pool-autostart": Shown(
        lambda pool, given: f"Pool {pool.name} {'un' * given['disable']}marked as autostarted\n",
        {},
        True,
    ),
    "pool-uuid": Shown(lambda pool, given: f"{pool.uuid}\n"),
    "pool-name": Shown(lambda pool, given: f"{pool.name}\n"),
    "vol-list": Shown(volumes_of, {"details": "how large each is, too"}),
    "vol-info": Shown(volume_of, BYTES),
    "vol-path": LINE,
    "vol-key": LINE,
    "vol-name": LINE,
    "vol-pool": LINE,
    "vol-create-as": message("Vol {} created"),
    "vol-clone": message("Vol {} cloned from {vol}"),
    "vol-resize": message("Size of volume '{}' successfully changed to {capacity}"),
    "vol-delete": message("Vol {} deleted"),
}
"""For each verb, how its result is printed."""
