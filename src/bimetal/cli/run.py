"""``bimetal run``: a machine in this terminal, from power on to power off."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import asdict

import bimetal
from bimetal import BimetalError, ExitCode, Machine, Result, format_size, set_trace
from bimetal.cli.boot import Boot
from bimetal.cli.ending import Ending
from bimetal.cli.equipment import EquipmentOptions, equipment_options
from bimetal.cli.host import HostOptions, host_options
from bimetal.cli.line import FOLLOWS, INPUT, OWN_SYSTEM, connect_pipe, words_for
from bimetal.cli.listings import show_list
from bimetal.cli.monitoring import Monitoring, monitoring_options
from bimetal.cli.options import OnceEach
from bimetal.cli.progress import ShownProgress
from bimetal.cli.report import Report, report_options
from bimetal.cli.saving import Saving, saving_options
from bimetal.cli.trees import Trees, tree_options
from bimetal.control.readiness import Readiness

__all__ = ["command"]

BOARDS = {"riscv64": "riscv-virt", "aarch64": "arm-virt", "x86_64": "microvm"}
EXAMPLES = """\b
For example:
  bimetal run debian-riscv64 --cpus 2 --memory 1G
  bimetal run debian-amd64 --accel jit
  bimetal run --kernel Image --initrd initrd.cpio --append console=ttyS0
"""
DEFAULT_BOARD = "riscv-virt"
DEFAULT_MEMORY = "512M"
MOST_DISKS = 5
"""With more disks than this, a console device that tells the terminal's size would take a slot
that a disk needs."""


class Software(Struct, frozen=True):
    """What the machine is to run, from the catalogue or from files: options of `Machine`."""

    board: str
    memory: str
    kernel: str | None
    kernel_format: str
    initrd: str | None
    bios: str | None
    append: str
    hvc: str | None = None
    flash: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse options that speak of something that was not given."""
        if self.kernel_format != "auto" and not self.kernel:
            raise click.UsageError("--kernel-format says what --kernel is: give a kernel")

    @property
    def first(self) -> str:
        """The file that a person would name."""
        return self.kernel or self.bios or next(iter(self.flash), "")

    @property
    def seeks(self) -> bool:
        """Whether it is firmware, which has to find what it starts."""
        return not self.kernel and bool(self.flash or self.bios not in (None, "none"))


@click.command("run", cls=OnceEach, epilog=EXAMPLES)
@click.argument("guest", required=False)
@click.option(
    "--board",
    "--machine",
    metavar="NAME[,OPTION=VALUE]",
    help="The machine's board [the guest's, or riscv-virt]; 'help' lists boards and options.",
)
@click.option("--arch", type=click.Choice(list(BOARDS)), help="Name the board by its architecture.")
@click.option(
    "-m",
    "--memory",
    metavar="SIZE",
    help="Memory, like 1G; a number alone is MiB [the guest's, or 512M].",
)
@click.option(
    "--cpus",
    "--smp",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of CPUs.",
)
@click.option(
    "--cpu",
    "model",
    default="",
    metavar="MODEL[,+FEATURE][,-FEATURE]",
    help="Processor model, perhaps without features, or with others; 'help' lists the models.",
)
@click.option(
    "--kernel", metavar="FILE", help="Linux Image, bzImage, ELF, uImage or FIT; packed or not."
)
@click.option(
    "--kernel-format",
    type=click.Choice(("auto", "raw")),
    default="auto",
    show_default=True,
    help="'raw' loads a kernel that has no header.",
)
@click.option("--initrd", metavar="FILE", help="Initial file system for the kernel.")
@click.option("--append", metavar="TEXT", help="Kernel command line; after that of a guest.")
@click.option("--bios", metavar="FILE", help="Firmware; 'none': the kernel starts in its place.")
@click.option(
    "--flash",
    multiple=True,
    metavar="FILE",
    help="A flash chip: the first, with firmware, is not written; a second holds its variables.",
)
@tree_options
@equipment_options
@host_options
@click.option("--no-reboot", is_flag=True, help="A guest that resets the machine ends it.")
@click.option(
    "--semihosting",
    is_flag=True,
    help="Answer semihosting calls of bare programs: console, exit code, time; no files.",
)
@saving_options
@monitoring_options
@report_options
@click.option("--trace", metavar="STAGES", help="decode, ir, llvm, asm, exit, mmio, irq.")
@click.pass_context
def command(
    context: click.Context,
    trees: Trees,
    report: Report,
    saving: Saving,
    monitoring: Monitoring,
    host: HostOptions,
    equipment: EquipmentOptions,
    guest: str | None,
    board: str | None,
    arch: str | None,
    memory: str | None,
    cpus: int,
    model: str,
    kernel: str | None,
    kernel_format: str,
    initrd: str | None,
    append: str | None,
    bios: str | None,
    flash: tuple[str, ...],
    no_reboot: bool,
    semihosting: bool,
    trace: str | None,
) -> int:
    """Boot GUEST of the catalogue, or --kernel and --bios, on a board of its own.

    The exit code is the one with which the guest switches off. On a terminal Ctrl-A x ends the
    machine and Ctrl-A h tells the other keys; Ctrl-C goes to the guest.
    """
    set_trace(trace)
    saving.check(context)
    if saving.restore:
        return go_on(saving, report, context.obj, host, monitoring, model)
    given = Software(
        board_named(board, arch), memory or "", kernel, kernel_format, initrd, bios, append or "",
        flash=flash,
    )  # fmt: skip
    if show_list(given.board, guest, DEFAULT_BOARD, model, host.accel):
        return 0
    fetch = partial(with_guest, given=given, serial=host.serial, disks=len(equipment.disks))
    software = fetch(guest) if guest else without_guest(given, trees)
    own = dict[str, Any](cpus=cpus, cpu_model=model, reboot=not no_reboot, semihosting=semihosting)
    make = partial(Machine, **asdict(software), **own, **trees.of_machine, **host.of_machine)
    host.confine(equipment.nics)
    with context.obj.of(make, Machine.abandon) as machine:
        equipment.add_to(machine, seeks=software.seeks)
        if trees.dump:
            return trees.write(machine)
        announce = partial(show_banner, guest or software.first, machine, host.serial)
        with (
            monitoring.of(machine, host.serial),
            saving.on_request(machine) as request,
            Readiness(),
        ):
            meanwhile = begin(saving, machine, guest or "", host)
            result = report.play(machine, context.obj, announce, meanwhile)
    return request.code(tell(result))


def begin(
    saving: Saving, machine: Machine, guest: str, host: HostOptions
) -> AbstractContextManager[None]:
    """What is done while the machine runs; it boots, or its disks have the state that it loads.
    Viewers may look from now on."""
    host.let_in(machine)
    if saving.loadvm is not None:
        machine.loadvm(saving.loadvm)
        return saving.at_text(machine)
    connect_pipe(machine)
    return saving.at_text(machine, Boot(machine, guest))


def go_on(
    saving: Saving,
    report: Report,
    ending: Ending,
    host: HostOptions,
    monitoring: Monitoring,
    model: str,
) -> int:
    """Restore a machine, and run it to the end; with another processor, if a model is named."""
    file = str(saving.restore)
    own = dict[str, Any](trust=saving.trust, new_macs=saving.new_macs, cpu_model=model)
    make = partial(Machine.restore, file, **own, **host.of_machine)
    host.confine()
    with ending.of(make, Machine.abandon) as machine:
        host.let_in(machine)
        announce = partial(show_banner, file, machine, host.serial)
        with (
            monitoring.of(machine, host.serial),
            saving.on_request(machine) as request,
            Readiness(),
        ):
            result = report.play(machine, ending, announce, saving.at_text(machine))
    return request.code(tell(result))


def board_named(board: str | None, arch: str | None) -> str:
    """The board that was asked for, "" if none was."""
    if board and arch:
        raise click.UsageError("--board and --arch name the same thing: give one of them")
    return board or BOARDS.get(arch or "", "")


def with_guest(name: str, given: Software, serial: str, disks: int) -> Software:
    """The guest of the catalogue, changed by what else was given, beside so many disks."""
    check_guest(name, given)
    with ShownProgress() as progress:
        payload = bimetal.fetch_guest(name, progress)
    words = [payload.append]
    if payload.takes_orders and not given.initrd:
        words += words_for(serial, follows=disks <= MOST_DISKS and OWN_SYSTEM not in given.append)
    own = [str(path) if path else None for path in (payload.kernel, payload.initrd, payload.bios)]
    return Software(
        board=given.board or payload.board,
        memory=given.memory or payload.memory,
        kernel=given.kernel or own[0],
        kernel_format=given.kernel_format if given.kernel else payload.kernel_format,
        initrd=given.initrd or own[1],
        bios=given.bios or own[2],
        flash=given.flash,
        append=" ".join([*words, given.append]).strip(),
        hvc="none" if any(word.endswith(FOLLOWS) for word in words) else None,
    )


def check_guest(name: str, given: Software) -> None:
    """Raise `BimetalError`, before anything is fetched, for a guest that there is not, and for a
    board on which it cannot run."""
    if name not in bimetal.GUESTS and Path(name).is_file():
        raise BimetalError(
            f"{name} is a file, not a guest of the catalogue",
            f"to boot it: bimetal run --kernel {name}",
            ExitCode.USAGE,
        )
    if not given.board or given.kernel:
        return
    boards = {board.name: board.isa for board in Machine.boards().values()}
    own, named = bimetal.GUESTS[name].board, given.board.split(",")[0]
    if named in boards and boards[named] != boards[own]:
        fitting = ", ".join(each for each, isa in boards.items() if isa == boards[own])
        raise BimetalError(
            f"{name} is for {boards[own]}, and the board {named} is {boards[named]}",
            f"leave the board away, or choose from {fitting}",
            ExitCode.USAGE,
        )


def without_guest(given: Software, trees: Trees) -> Software:
    """What was given, on the default board; nothing at all is enough to have its tree written."""
    if not (given.kernel or given.bios or given.flash or trees.dump):
        raise BimetalError(
            "there is nothing to run",
            "name a guest ('bimetal guests' lists them), or give --kernel, --bios or --flash",
            ExitCode.USAGE,
        )
    return Software(
        board=given.board or DEFAULT_BOARD,
        memory=given.memory or DEFAULT_MEMORY,
        kernel=given.kernel,
        kernel_format=given.kernel_format,
        initrd=given.initrd,
        bios=given.bios,
        flash=given.flash,
        append=given.append,
    )


def show_banner(what: str | None, machine: Machine, serial: str) -> None:
    """The message before the guest's output: one line, and another if the console is elsewhere."""
    cpus = len(machine.cpus)  # which chooses the accelerator, if that was left to us
    parts = [
        f"bimetal: {what} on {machine.board}",
        f"{cpus} CPU{'s' if cpus > 1 else ''}",
        format_size(machine.config.memory),
        f"accelerator {machine.accel}",
    ]
    typed = serial == "stdio" and os.isatty(INPUT)
    keys = "; Ctrl-A x ends it, Ctrl-A h helps" if typed else ""
    where = machine.console.where
    there = f"\nbimetal: the console is at {where}" * bool(where)
    click.echo(", ".join(parts) + keys + there, err=True)


def tell(result: Result) -> int:
    """Say why a run ended that the guest did not end in order; the exit code."""
    if result.message:
        click.echo(f"bimetal: {result}", err=True)
    if result.details:
        click.echo(result.details, err=True)
    return result.code
