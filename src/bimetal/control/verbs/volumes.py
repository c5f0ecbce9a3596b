"""Verbs for volumes: images in pools."""

from __future__ import annotations

import os
from typing import Annotated

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.sizes import parse_size
from bimetal.control.machines import Machines
from bimetal.control.pool_parts import Volume
from bimetal.control.verbs.pools import pools_of
from bimetal.control.verbs.registry import HOST

__all__ = ["vol_list"]

Called = Annotated[str, "the volume: its name in a pool, or its path"]
InPool = Annotated[str, "the pool"]
Size = Annotated[str, "bytes, or a size like 20G"]


@HOST.command("vol-list", safe=True)
def vol_list(machines: Machines, pool: InPool) -> list[Volume]:
    """List the images in a pool."""
    pools = pools_of(machines)
    return pools.volumes(pools.find(pool))


@HOST.command("vol-info", safe=True)
def vol_info(machines: Machines, vol: Called, pool: InPool = "") -> Volume:
    """Tell of an image: how large the disk in it is, and how much room it takes."""
    return pools_of(machines).volume(vol, pool)


@HOST.command("vol-path", safe=True)
def vol_path(machines: Machines, vol: Called, pool: InPool = "") -> str:
    """Tell the path of an image."""
    return pools_of(machines).volume(vol, pool).path


@HOST.command("vol-key", safe=True)
def vol_key(machines: Machines, vol: Called, pool: InPool = "") -> str:
    """Tell by what an image is known everywhere: its path."""
    return pools_of(machines).volume(vol, pool).path


@HOST.command("vol-name", safe=True)
def vol_name(machines: Machines, vol: Called) -> str:
    """Tell the name of the image at a path."""
    return pools_of(machines).volume(vol).name


@HOST.command("vol-pool", safe=True)
def vol_pool(machines: Machines, vol: Called) -> str:
    """Tell the pool of the image at a path."""
    pools = pools_of(machines)
    folder = os.path.dirname(pools.volume(vol).path)
    return next(pool.name for pool in pools if pool.path == folder)


@HOST.command("vol-create-as")
def vol_create_as(
    machines: Machines,
    pool: InPool,
    name: Annotated[str, "what to call it"],
    capacity: Size,
    format: Annotated[str, "raw or qcow2"] = "raw",
    allocation: Annotated[str, "accepted: room is taken as it is written"] = "",
    backing_vol: Annotated[str, "the image that it lies on: a name in the pool, or a path"] = "",
    backing_vol_format: Annotated[str, "the format of that"] = "",
) -> str:
    """Make an image in a pool; its name."""
    pools = pools_of(machines)
    place = pools.find(pool)
    path = pools.new_path(place, name)
    below = None
    if backing_vol:
        below = pools.volume(backing_vol, "" if os.path.isabs(backing_vol) else pool)
    late("bimetal.images:create")(
        path,
        parse_size(capacity),
        format=format,
        backing=None if below is None else below.path,
        backing_format=(backing_vol_format or below.format) if below is not None else None,
        folders=(place.path,),
    )
    return name


@HOST.command("vol-clone")
def vol_clone(
    machines: Machines, vol: Called, newname: Annotated[str, "what to call the copy"],
    pool: InPool = "",
) -> str:  # fmt: skip
    """Copy an image within its pool; the name of the copy."""
    pools = pools_of(machines)
    found = pools.volume(vol, pool)
    folder = os.path.dirname(found.path)
    place = next(each for each in pools if each.path == folder)
    late("bimetal.images:convert")(
        [found.path], pools.new_path(place, newname), format=found.format,
        target_format=found.format,
    )  # fmt: skip
    return newname


@HOST.command("vol-resize")
def vol_resize(
    machines: Machines,
    vol: Called,
    capacity: Size,
    pool: InPool = "",
    delta: Annotated[bool, "so much more than now"] = False,
    shrink: Annotated[bool, "cut off what is behind"] = False,
) -> str:
    """Make the disk in an image larger, or smaller; its name."""
    found = pools_of(machines).volume(vol, pool)
    size = f"+{capacity}" if delta else capacity
    late("bimetal.images:resize")(found.path, size, format=found.format, shrinking=shrink)
    return found.name


@HOST.command("vol-delete")
def vol_delete(machines: Machines, vol: Called, pool: InPool = "") -> str:
    """Remove an image that no machine is defined with; its name."""
    found = pools_of(machines).volume(vol, pool)
    for known in machines:
        if any(disk.path and os.path.realpath(disk.path) == os.path.realpath(found.path)
               for disk in machines.definition(known.name, inactive=True).disks):  # fmt: skip
            raise BimetalError(
                f"{found.name} is a disk of {known.name}",
                "undefine that first, or take the disk out of it: bimetal detach-disk",
                ExitCode.USAGE,
            )
    os.unlink(found.path)
    return found.name
