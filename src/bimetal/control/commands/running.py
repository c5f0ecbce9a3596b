"""Commands that stop a machine and let it go on, reset it and end it."""

from __future__ import annotations

from typing import Annotated

from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import ShutdownCause
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["StatusInfo", "cont", "query_status", "quit_", "reboot", "reset"]
__all__ += ["save", "stop"]


class StatusInfo(Answer):
    """Whether a machine runs."""

    running: Annotated[bool, "whether its CPUs execute"]
    status: Annotated[
        str,
        "running, paused, prelaunch, inmigrate, finish-migrate, postmigrate, shutdown, "
        "guest-panicked or internal-error",
    ]


@MACHINE.command("query-status", out_of_band=True)
def query_status(vm: Managed) -> StatusInfo:
    """Say whether the machine runs."""
    state = vm.state
    return StatusInfo(running=state == "running", status=state)


@MACHINE.command("stop")
def stop(vm: Managed) -> None:
    """Stop the CPUs and the time of the guest. Nothing happens if it does not run."""
    if vm.machine.running:
        vm.machine.pause()


@MACHINE.command("cont")
def cont(vm: Managed) -> None:
    """Let the machine go on. An error if its run has ended. One that has moved to another process
    is taken back from there, unless its disks tell that it runs there."""
    _check_runs(vm, "it cannot go on")
    if vm.migration.under_way and vm.machine.away:
        raise CommandFailed(
            ErrorClass.GENERIC,
            "the machine is just moving to another process",
            "wait for the end of that, or migrate_cancel",
            ExitCode.UNAVAILABLE,
        )
    vm.machine.come_back()
    vm.machine.resume()


@MACHINE.command("system_reset")
def reset(vm: Managed) -> None:
    """Press the reset button: the guest starts again. A machine that is stopped stays so, and one
    whose guest has switched off, and that has stayed there (``-no-shutdown``), is stopped then."""
    if vm.machine.result is not None and vm.revive is not None:
        vm.revive()
        return
    _check_runs(vm, "there is nothing to reset")
    vm.machine.reset()


@MACHINE.command("system_powerdown")
def powerdown(vm: Managed) -> None:
    """Press the power button, which asks the guest to shut down. Whether it does is up to it."""
    _check_runs(vm, "nobody hears the button")
    vm.machine.press_power_button()


@MACHINE.command("quit", out_of_band=True)
def quit_(vm: Managed) -> None:
    """End the run at once, as if the power were cut."""
    vm.quit(ShutdownCause.HOST_QMP_QUIT)


@MACHINE.command("bimetal-save")
def save(
    vm: Managed,
    filename: Annotated[str, "where to write the snapshot; an older one there is replaced"],
    stop: Annotated[bool, "end the run once it is saved"] = False,
) -> None:
    """Save the whole state of the machine to a file. ``bimetal run --restore`` goes on with it."""
    _check_runs(vm, "there is no state to save")
    vm.saved = stop
    try:
        vm.machine.save(filename, stop=stop, label=vm.label)
    except BaseException:
        vm.saved = False
        raise


@MACHINE.command("bimetal-reboot")
def reboot(vm: Managed) -> None:
    """Press the power button, and have the machine started again once the guest has switched off.
    Only machines that stay are (docs/control.md); an error for others."""
    _check_runs(vm, "it cannot be started again")
    if not vm.label:
        raise CommandFailed(
            ErrorClass.GENERIC,
            "nobody would start the machine again",
            "reset it: system_reset",
            ExitCode.UNAVAILABLE,
        )
    vm.restart = True
    try:
        vm.machine.press_power_button()
    except BaseException:
        vm.restart = False
        raise


def _check_runs(vm: Managed, why: str) -> None:
    """Raise `CommandFailed`, which says ``why`` it matters, once the run is over."""
    if vm.machine.result is not None:
        raise CommandFailed(
            ErrorClass.GENERIC,
            f"the machine has ended ({vm.machine.result}): {why}",
            "start it anew",
            ExitCode.UNAVAILABLE,
        )
