"""Commands about a machine that goes on in another process while its guest runs, as libvirt
migrates, saves and restores it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from bimetal.base.clock import monotonic_seconds
from bimetal.base.errors import ExitCode
from bimetal.base.late import late
from bimetal.control.channels import place_of
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed
from bimetal.control.migration import ACTIVE, COMPLETED
from bimetal.machine.progress import PAGE

__all__ = ["query_migrate_capabilities"]

EVENTS, RETURN_PATH = "events", "return-path"
FD = "fd:"
PASSAGE = "bimetal.backends.passage"

Channels = Annotated[list[dict[str, Any]] | None, "one channel of the type main, in place of uri"]


class MigrationCapability(Answer):
    """Something that migration may do."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is switched on"]


class MigrationSwitch(Answer, forbid_unknown_fields=True):
    """Something that migration may do, to be switched on or off."""

    capability: Annotated[str, "its name"]
    state: Annotated[bool, "whether it is to be on"]


class BitmapTransform(Answer, forbid_unknown_fields=True):
    """What a dirty bitmap becomes."""

    persistent: Annotated[bool, "whether its image keeps it"] = False


class BitmapMapping(Answer, forbid_unknown_fields=True):
    """A dirty bitmap that would be sent."""

    name: Annotated[str, "what it is called"]
    alias: Annotated[str, "what it is called on the way"]
    transform: Annotated[BitmapTransform | None, "what it becomes there"] = None


class NodeMapping(Answer, forbid_unknown_fields=True):
    """An image whose dirty bitmaps would be sent."""

    node_name: Annotated[str, "its node"]
    alias: Annotated[str, "what it is called on the way"]
    bitmaps: Annotated[list[BitmapMapping], "its bitmaps"]


class MigrationParameters(Answer):
    """How fast migration may be."""

    max_bandwidth: Annotated[int, "bytes a second; 0 for as many as there can be"]
    downtime_limit: Annotated[int, "milliseconds for which the guest may stand still"]


class MigrationRam(Answer):
    """How much memory has moved."""

    total: Annotated[int, "bytes of memory"]
    transferred: Annotated[int, "bytes that were sent in pages"]
    remaining: Annotated[int, "bytes that are left"]
    duplicate: Annotated[int, "pages that were nothing but zeroes"]
    normal: Annotated[int, "pages that were sent"]
    normal_bytes: Annotated[int, "bytes of these"]
    dirty_pages_rate: Annotated[int, "pages that the guest writes to in a second"]
    mbps: Annotated[float, "megabits a second"]
    dirty_sync_count: Annotated[int, "how often memory was gone through"]
    page_size: Annotated[int, "bytes of a page"]


class MigrationInfo(Answer):
    """How far a migration is."""

    status: Annotated[
        str | UnsetType,
        "setup, active, completed, failed, cancelling, cancelled; missing before",
    ] = UNSET
    ram: Annotated[MigrationRam | UnsetType, "missing unless it is active or completed"] = UNSET
    total_time: Annotated[int | UnsetType, "milliseconds so far"] = UNSET
    setup_time: Annotated[int | UnsetType, "milliseconds until the first page"] = UNSET
    expected_downtime: Annotated[
        int | UnsetType, "milliseconds for which the guest would stand still now"
    ] = UNSET
    downtime: Annotated[int | UnsetType, "milliseconds for which it stood still"] = UNSET
    error_desc: Annotated[str | UnsetType, "why it has failed"] = UNSET


@MACHINE.command("query-migrate-capabilities")
def query_migrate_capabilities(vm: Managed) -> list[MigrationCapability]:
    """List what migration may do: tell of its state by events, which it does always, and hear from
    the other side, which it does where it can, and insists on if that is switched on."""
    return [
        MigrationCapability(capability=EVENTS, state=True),
        MigrationCapability(capability=RETURN_PATH, state=vm.migration.must_answer),
    ]


@MACHINE.command("migrate-set-capabilities")
def migrate_set_capabilities(
    vm: Managed, capabilities: Annotated[list[MigrationSwitch], "what is to be on and off"]
) -> None:
    """Switch on what migration may do. What is not there can only be off."""
    for each in capabilities:
        if each.state and each.capability not in (EVENTS, RETURN_PATH):
            raise _failed(f"migration cannot do {each.capability[:80]}", "leave it off")
    for each in capabilities:
        if each.capability == RETURN_PATH:
            vm.migration.must_answer = each.state


@MACHINE.command("query-migrate-parameters")
def query_migrate_parameters(vm: Managed) -> MigrationParameters:
    """Tell how fast migration may be."""
    pace = vm.migration.pace
    return MigrationParameters(
        max_bandwidth=pace.bandwidth, downtime_limit=round(pace.downtime * 1000)
    )


@MACHINE.command("migrate-set-parameters", out_of_band=True)
def migrate_set_parameters(
    vm: Managed,
    max_bandwidth: Annotated[int | None, "bytes a second; 0 for as many as there can be"] = None,
    downtime_limit: Annotated[
        int | None, "milliseconds for which the guest may stand still, at most 2,000,000"
    ] = None,
    block_bitmap_mapping: Annotated[
        list[NodeMapping] | None, "none: bitmaps go along in the images that keep them"
    ] = None,
) -> None:
    """Say how fast migration may be, also while it is under way."""
    if block_bitmap_mapping:
        raise _failed("dirty bitmaps are not sent", "have the images keep them: persistent=true")
    if max_bandwidth is not None and max_bandwidth < 0:
        raise _failed(f"max-bandwidth={max_bandwidth}", "write a number of bytes")
    if downtime_limit is not None and not 0 <= downtime_limit <= 2_000_000:
        raise _failed(f"downtime-limit={downtime_limit}", "write 0 to 2000000")
    if max_bandwidth is not None:
        vm.migration.pace.bandwidth = max_bandwidth
    if downtime_limit is not None:
        vm.migration.pace.downtime = downtime_limit / 1000


@MACHINE.command("query-migrate", out_of_band=True)
def query_migrate(vm: Managed) -> MigrationInfo:
    """Tell how far the migration is."""
    migration, moving = vm.migration, vm.migration.moving
    info = MigrationInfo(status=migration.status or UNSET, error_desc=migration.why or UNSET)
    if migration.status not in (ACTIVE, COMPLETED):
        return info
    info.ram = MigrationRam(
        total=moving.total,
        transferred=moving.sent,
        remaining=moving.left,
        duplicate=moving.zeroes,
        normal=moving.pages,
        normal_bytes=moving.sent,
        dirty_pages_rate=moving.dirty_rate,
        mbps=moving.speed * 8 / 1e6,
        dirty_sync_count=moving.passes,
        page_size=PAGE,
    )
    took = moving.took or monotonic_seconds() - moving.began
    info.total_time, info.setup_time = round(took * 1000), round(moving.setup * 1000)
    stood = round(moving.stood * 1000)
    if migration.status == COMPLETED:
        info.downtime = stood
    else:
        info.expected_downtime = stood
    return info


@MACHINE.command("migrate")
def migrate(
    vm: Managed,
    uri: Annotated[
        str | None, "where to: tcp:HOST:PORT, unix:PATH, fd:NAME, exec:COMMAND, file:PATH"
    ] = None,
    channels: Channels = None,
    detach: Annotated[bool, "accepted: it goes on while other commands are carried out"] = False,
    resume: Annotated[bool, "always false: it is begun anew"] = False,
    blk: Annotated[bool, "always false: disks stay where they are"] = False,
    inc: Annotated[bool, "always false"] = False,
) -> None:
    """Have the machine go on in another process, or its state in a file, while its guest runs as
    long as that can be. Events tell of the end (MIGRATION), or query-migrate. If it fails, the
    machine goes on here; afterwards it stands still here."""
    if resume or blk or inc:
        raise _failed("only the state of the machine moves", "leave the switches away")
    if not vm.machine.running:
        raise _failed("the machine does not run", "start it")
    if vm.migration.under_way or vm.machine.away:
        raise _failed("the machine moves already", "migrate_cancel, or wait for the end")
    way = late(f"{PASSAGE}:open_passage")(_place(vm, uri, channels))
    if vm.migration.must_answer and not way.both_ways:
        way.close()
        raise _failed("nothing comes back from there", "leave return-path off, or name a socket")
    vm.migration.leave(vm.machine, way)


@MACHINE.command("migrate_cancel", out_of_band=True)
def migrate_cancel(vm: Managed) -> None:
    """Have the machine go on here. Nothing happens if it does not move."""
    vm.migration.cancel()


@MACHINE.command("migrate-incoming")
def migrate_incoming(
    vm: Managed,
    uri: Annotated[
        str | None, "where from: tcp:HOST:PORT, unix:PATH, fd:NAME, exec:COMMAND, file:PATH"
    ] = None,
    channels: Channels = None,
) -> None:
    """Await a machine that `migrate` has sent, in one that was started with ``-incoming`` and the
    same command line. It runs then, unless that said ``-S``."""
    if not vm.awaits_state or vm.migration.under_way:
        raise _failed("the machine does not wait for a state", "start it with -incoming defer")
    _, await_way = late(f"{PASSAGE}:await_passage")(_place(vm, uri, channels))
    vm.await_machine(await_way)


def _place(vm: Managed, uri: str | None, channels: list[dict[str, Any]] | None) -> str:
    """The place, with the number of a descriptor that was handed over, which is ours now. Raises
    `CommandFailed`."""
    place = place_of(uri, channels)
    if place.startswith(FD):
        return f"{FD}{vm.handed.take(place.removeprefix(FD))}"
    return place


def _failed(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
