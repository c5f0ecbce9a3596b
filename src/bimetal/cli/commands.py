"""The table of commands: names and summaries here, modules when they are called."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

__all__ = ["CommandTable", "verb_named", "verbs"]

SUMMARIES = {
    "run": "Boot a guest of the catalogue, or a kernel, firmware or program of your own.",
    "guests": "List the guests of the catalogue.",
    "fetch": "Fetch guests of the catalogue without booting them.",
    "image": "Make, look at, check, convert and change disk images.",
    "cache": "Show the compiled code that is kept between runs, or make it smaller.",
    "dis": "Disassemble a file or a few bytes.",
    "web": "Serve a page with the machines that stay, and a REST API.",
    "install": "Make a machine that stays, in virt-install's words, and start it.",
    "clone": "Copy a machine that stays and is off, with its disks.",
    "kvm-ok": "Find out whether KVM works on this host, by using it.",
    "emulators": "Make programs that take QEMU's command line, for libvirt and scripts.",
    "doctor": "Look at this host: what works, what is missing, what to do.",
}

AT_TERMINALS = {
    "console": "Talk with the console of a machine that stays; Ctrl-] leaves.",
    "event": "Print what happens to a machine, as it happens.",
    "migrate": "Have a machine go on elsewhere, while it runs.",
    "edit": "Change the definition of a machine in $VISUAL or $EDITOR.",
}
"""Verbs that need a person at a terminal."""


def verbs() -> dict[str, str]:
    """What is done with machines that stay: names and summaries. Where there is a command of its
    own for a verb, that has more to say."""
    registry = import_module("bimetal.control.verbs").HOST
    own = {verb.name: verb.summary for verb in registry if verb.name not in SUMMARIES}
    return {**own, **AT_TERMINALS}


def verb_named(name: str) -> click.Command | None:
    """The command for such a verb."""
    if name in AT_TERMINALS:
        command = import_module(f"bimetal.cli.{name}").command
    elif name in verbs():
        command = import_module("bimetal.cli.verbs").command_of(name)
    else:
        return None
    assert isinstance(command, click.Command)
    return command


def _meant(name: str) -> str:
    """What to type instead: a command, or a guest's or a file's name behind one."""
    if name in import_module("bimetal").GUESTS:
        return f": to boot that guest, 'bimetal run {name}'"
    if Path(name).is_file():
        return f": to boot that file, 'bimetal run --kernel {name}'"
    near = import_module("difflib").get_close_matches(name, [*SUMMARIES, *verbs()], n=1)
    return f": did you mean {near[0]}?" if near else ""


class CommandTable(click.Group):
    """A group whose commands live in modules of their own, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return [*SUMMARIES, *verbs()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in SUMMARIES:
            return verb_named(cmd_name)
        command = import_module(f"bimetal.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """For an unknown command, suggest similar names."""
        name = args[0]
        known = name in SUMMARIES or name.startswith("-") or name in verbs()
        if not known:
            raise click.UsageError(f"No such command {name!r}{_meant(name)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))
        with formatter.section("Machines that stay"):
            formatter.write_dl(list(verbs().items()))
