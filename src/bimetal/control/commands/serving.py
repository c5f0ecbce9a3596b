"""Commands that serve the images of disks to others by NBD, as backup programs want them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from bimetal.control.commands.bitmaps import BitmapSource
from bimetal.control.commands.nodes import disk_of, node_named, refused
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import Event, ExportData
from bimetal.control.managed import Managed, node_of

__all__ = ["ExportInfo", "block_export_add", "block_export_del", "nbd_server_add"]
__all__ += ["nbd_server_remove", "nbd_server_start", "nbd_server_stop", "query_block_exports"]

CLIENTS = 32
"""Those that are served at a time at most: each may have 32 MiB on their way."""

BITMAPS_LIMIT = 64

Address = Annotated[
    dict[str, Any], "where: type unix, and a path in data, or type inet, and its host and port"
]
Writable = Annotated[bool, "always false: what the guest writes to is only read by others"]
Mode = Annotated[
    Literal["safe", "hard"], "whether that is an error while a client uses it, or it is hung up on"
]


class ExportInfo(Answer):
    """An image that is served."""

    id: Annotated[str, "what it is called"]
    type: Annotated[Literal["nbd"], "how"]
    node_name: Annotated[str, "the image"]
    shutting_down: Annotated[bool, "always false: it is gone at once"] = False


@MACHINE.command("nbd-server-start")
def nbd_server_start(
    vm: Managed,
    addr: Address,
    tls_creds: Annotated[str | None, "always missing: there is no encryption"] = None,
    tls_authz: Annotated[str | None, "likewise"] = None,
    max_connections: Annotated[int, "clients at a time, 32 at most; 0 for that"] = 0,
) -> None:
    """Begin to serve images by NBD. Who reaches the address reads them."""
    if tls_creds or tls_authz:
        raise refused("what is served is not encrypted: use a Unix socket, and a tunnel")
    if not 0 <= max_connections <= CLIENTS:
        raise refused(f"max-connections={max_connections}: write 1 to {CLIENTS}")
    vm.machine.serve_disks(**_place(addr), clients=max_connections or CLIENTS)


@MACHINE.command("nbd-server-stop")
def nbd_server_stop(vm: Managed) -> None:
    """Serve nothing any more; clients are hung up on."""
    if not vm.machine.exports.serving:
        raise refused("there is no server")
    gone = [each.id for each in vm.machine.exports]
    vm.machine.stop_serving()
    for id_ in gone:
        vm.on_event(Event("BLOCK_EXPORT_DELETED", ExportData(id=id_)))


@MACHINE.command("block-export-add")
def block_export_add(
    vm: Managed,
    type: Annotated[Literal["nbd"], "how"],
    id: Annotated[str, "what to call it"],
    node_name: Annotated[
        str, "the image: one of a disk, or the one that a backup of sync=none copies to"
    ],
    name: Annotated[str, "by what clients ask for it, otherwise the node"] = "",
    writable: Writable = False,
    writethrough: Annotated[bool, "accepted: nothing is written"] = False,
    description: Annotated[str, "accepted"] = "",
    bitmaps: Annotated[
        list[str | BitmapSource],
        "dirty bitmaps of which clients are told, as qemu:dirty-bitmap:NAME: of the image or one "
        "below it",
    ] = [],  # noqa: B006  msgspec copies it
    allocation_depth: Annotated[bool, "always false"] = False,
) -> None:
    """Serve an image, to be read. One to which a backup of sync=none copies, and that lies on the
    disk, shows that as it was when the backup began."""
    if writable or allocation_depth:
        raise refused("an image is served to be read, and its depths are not told of")
    if len(bitmaps) > BITMAPS_LIMIT:
        raise refused(f"{len(bitmaps)} bitmaps are too many")
    wanted = [
        each if isinstance(each, str) else (node_named(vm, each.node).path, each.name)
        for each in bitmaps
    ]
    path = node_named(vm, node_name).path
    vm.machine.export_disk(path, name or node_name, bitmaps=wanted, id=id)


@MACHINE.command("block-export-del")
def block_export_del(vm: Managed, id: Annotated[str, "the export"], mode: Mode = "safe") -> None:
    """Serve an image no more."""
    _remove(vm, id, mode)


@MACHINE.command("query-block-exports", safe=True)
def query_block_exports(vm: Managed) -> list[ExportInfo]:
    """List the images that are served."""
    there = [] if vm.given is None else [*vm.machine.exports]
    return [
        ExportInfo(id=each.id, type="nbd", node_name=node_of(vm.nodes, each.path)) for each in there
    ]


@MACHINE.command("nbd-server-add")
def nbd_server_add(
    vm: Managed,
    device: Annotated[str, "the disk, or the node of an image"],
    name: Annotated[str, "by what clients ask for it, otherwise as the disk is called"] = "",
    writable: Writable = False,
    bitmap: Annotated[str, "a dirty bitmap of which clients are told"] = "",
) -> None:
    """The same as block-export-add, as it was called before."""
    if writable:
        raise refused("an image is served to be read")
    if device in vm.nodes:
        path = node_named(vm, device).path
    else:
        path = vm.machine.images_of(disk_of(vm, device))[0].path
    vm.machine.export_disk(path, name or device, bitmaps=[bitmap] if bitmap else [])


@MACHINE.command("nbd-server-remove")
def nbd_server_remove(
    vm: Managed, name: Annotated[str, "by what clients ask for it"], mode: Mode = "safe"
) -> None:
    """The same as block-export-del."""
    for each in vm.machine.exports:
        if each.name == name:
            return _remove(vm, each.id, mode)
    raise refused(f"there is no export {name[:80]!r}")


def _remove(vm: Managed, id_: str, mode: str) -> None:
    export = vm.machine.exports[id_]
    if mode == "safe" and vm.machine.exports.in_use(export):
        raise refused(f"clients use the export {id_[:80]!r}: say mode=hard")
    vm.machine.unexport_disk(id_)
    vm.on_event(Event("BLOCK_EXPORT_DELETED", ExportData(id=id_)))


def _place(address: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Machine.serve_disks` for an address (QEMU's qapi/sockets.json,
    SocketAddressLegacy). Raises `CommandFailed`."""
    match address:
        case {"type": "unix", "data": {"path": str(path)}} if path:
            return {"socket": path}
        case {"type": "inet", "data": {"host": str(host), "port": str(port)}} if port.isdecimal():
            return {"host": host, "port": int(port)}
    raise refused("write an address of type unix, with a path, or inet, with a host and a port")
