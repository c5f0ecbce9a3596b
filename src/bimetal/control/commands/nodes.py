"""What the images that clients have told of are to the disks of the machine that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import BlockNode, Managed, node_of
from bimetal.control.qdev import name_in
from bimetal.machine.live.image_at import ImageAt

__all__ = [
    "chains",
    "disk_of",
    "image_place",
    "images_in_use",
    "node_named",
    "path_of",
    "refused",
    "users_of",
]


def refused(why: str) -> CommandFailed:
    """The error for what a client must not ask."""
    return CommandFailed(ErrorClass.GENERIC, why, exit_code=ExitCode.USAGE)


def node_named(vm: Managed, name: str) -> BlockNode:
    """The node of an image. Raises `CommandFailed`."""
    node = vm.nodes.get(name)
    if node is None or node.format is None:
        raise refused(f"there is no node {name[:80]!r} of an image")
    return node


def chains(vm: Managed) -> dict[str, list[str]]:
    """The paths of the images of each disk, from the one that the guest writes to downwards."""
    found: dict[str, list[str]] = {}
    for drive in vm.machine.drives():
        if not drive.removable:
            with suppress(BimetalError):
                found[drive.name] = [each.path for each in vm.machine.images_of(drive.name)]
    return found


def disk_of(vm: Managed, called: str) -> str:
    """The disk that a client calls by its name, by the id or the place of its device, or by the
    node of one of its images. Raises `CommandFailed`."""
    there = chains(vm)
    name = name_in(called)
    name = vm.devices.get(name, name)
    if name in there:
        return name
    if called in vm.nodes:
        for drive, paths in there.items():
            if any(same_file(vm.nodes[called].path, path) for path in paths):
                return drive
    raise CommandFailed(
        ErrorClass.DEVICE_NOT_FOUND,
        f"there is no disk {called[:80]!r}",
        f"choose from {', '.join(there)}" if there else "the machine has none",
        ExitCode.USAGE,
    )


def image_place(vm: Managed, called: str) -> tuple[str, str]:
    """The disk and the path of an image that a client calls by its node, of whatever disk, or by
    the disk that it is the image of; either may be "". Raises `CommandFailed`."""
    node = vm.nodes.get(called)
    if node is None:
        return disk_of(vm, called), ""
    return "", node_named(vm, called).path


def images_in_use(vm: Managed, path: str) -> list[ImageAt]:
    """The image at ``path`` of a disk of the machine, and those that it lies on; none if no disk
    has it."""
    if vm.given is None:
        return []
    for drive in chains(vm):
        images = vm.machine.images_of(drive)
        for depth, image in enumerate(images):
            if same_file(image.path, path):
                return images[depth:]
    return []


def path_of(vm: Managed, node: str, file: str) -> str:
    """The path of an image that is called by its ``node`` or its ``file``, "" if by neither."""
    if node and file:
        raise refused("say the node or the file, not both")
    return node_named(vm, node).path if node else file


def users_of(vm: Managed, name: str) -> list[str]:
    """What uses a node: devices, images that lie on it, and the node of an image in its file."""
    node = vm.nodes[name]
    users = [other for other, each in vm.nodes.items() if each.file == name]
    if node.format is None:
        return users
    there, attached = chains(vm), set[str]()
    given = {device: id_ for id_, device in vm.devices.items()}
    for drive, paths in there.items():
        attached |= {node_of(vm.nodes, path) for path in paths}
        user = given.get(drive, drive)
        # Several nodes may be of one image: of its topmost, a disk uses the one that it has.
        used = paths[1:] if user in vm.disks else paths
        if any(same_file(node.path, path) for path in used):
            users.append(user)
    users += [id_ for id_, has in vm.disks.items() if has == name]
    users += _lying_on(vm, name, attached)
    if vm.given is not None:
        served = (each for each in vm.machine.exports if same_file(each.path, node.path))
        users += [f"the export {each.id}" for each in served]
    return list(dict.fromkeys(users))


def _lying_on(vm: Managed, name: str, attached: set[str]) -> Iterator[str]:
    """Nodes that were said to lie on one, and are no image of a disk, which knows better."""
    for other, each in vm.nodes.items():
        if each.backing == name and other not in attached:
            yield other
