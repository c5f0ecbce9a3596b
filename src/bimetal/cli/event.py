"""``bimetal event``: what happens to a machine, as it happens."""

from __future__ import annotations

from typing import Any

import click

from bimetal import ExitCode
from bimetal.cli.options import OnceEach
from bimetal.control.machines import Machines

__all__ = ["command"]

KINDS = {
    "SHUTDOWN": ("lifecycle", "Shutdown Finished"),
    "STOP": ("lifecycle", "Suspended Paused"),
    "RESUME": ("lifecycle", "Resumed Unpaused"),
    "GUEST_PANICKED": ("lifecycle", "Crashed Panicked"),
    "RESET": ("reboot", ""),
    "BALLOON_CHANGE": ("balloon-change", "{actual}KiB"),
    "DEVICE_DELETED": ("device-removed", "{device}"),
}
"""What virsh calls the events of QMP, and what it prints of them."""

NAMES = tuple(dict.fromkeys(kind for kind, _ in KINDS.values()))
FOR_EVER = 1e9
"""Seconds."""


@click.command("event", cls=OnceEach)
@click.argument("domain", metavar="DOMAIN", required=False)
@click.argument("name", metavar="[EVENT]", required=False)
@click.option("--domain", "named", help="The machine.", hidden=True)
@click.option("--event", "kind", type=click.Choice(NAMES), help="Only events of that kind.")
@click.option("--all", "all_", is_flag=True, help="Events of all kinds.")
@click.option("--loop", is_flag=True, help="Go on after the first one.")
@click.option("--timeout", type=float, default=FOR_EVER, metavar="SECONDS", help="Wait no longer.")
@click.option("--list", "list_", is_flag=True, help="List the kinds of events.")
@click.option("--timestamp", is_flag=True, hidden=True)
def command(
    domain: str | None,
    name: str | None,
    named: str | None,
    kind: str | None,
    all_: bool,
    loop: bool,
    timeout: float,
    list_: bool,
    timestamp: bool,
) -> int:
    """Print what happens to a machine that runs: the first event, or, with --loop, all of them
    until its end.

    DOMAIN is the machine: its name, UUID, or the id of its run.
    """
    if list_:
        click.echo("\n".join(NAMES))
        return 0
    machine, wanted = named or domain, kind or name
    if machine is None:
        raise click.UsageError("command 'event' requires <domain> option")
    if wanted is None and not all_:
        raise click.UsageError("one of --list, --all, or --event <type> is required")
    known = Machines().running(machine)
    count, over = 0, False
    with Machines().conversation(known.name) as talk:
        for told in talk.events(timeout):
            event, text = KINDS.get(told["event"], ("", ""))
            if event and (all_ or event == wanted):
                count += 1
                click.echo(_line(event, known.name, text, told.get("data", {})))
            over = told["event"] == "SHUTDOWN"
            if over or (count and not loop):
                break
        else:
            click.echo("event loop timed out")
    click.echo(f"events received: {count}")
    return 0 if count else ExitCode.FAILURE


def _line(event: str, name: str, text: str, data: dict[str, Any]) -> str:
    if "actual" in data:
        data = {**data, "actual": data["actual"] >> 10}
    told = text.format_map({"device": "", **data})
    return f"event '{event}' for domain '{name}'" + (f": {told}" if told else "")
