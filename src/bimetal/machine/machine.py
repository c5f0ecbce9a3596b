"""The machine as a program uses it.

with Machine("riscv-virt", memory="512M", kernel="Image", append="console=ttyS0") as vm:
    vm.disk("root.img", snapshot=True)
    vm.start()
    vm.console.expect("login:")
    print(vm.cpus[0].pc, vm["uart@10000000"].LSR)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from os import fspath
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any

from bimetal.accel.choose import accelerators, models
from bimetal.backends.chars.protocol import CharBackend
from bimetal.base.clock import Clock
from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.lasting import undo_all
from bimetal.base.sizes import format_size
from bimetal.machine.assembly import Engine
from bimetal.machine.board import Board, all_boards, find_board
from bimetal.machine.config import Config, memory_size
from bimetal.machine.core import MachineCore
from bimetal.machine.equipment import Equipment, Path
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.expect import still_runs
from bimetal.machine.gathering import Gathering
from bimetal.machine.rare import RARE_PARTS
from bimetal.machine.result import Result
from bimetal.seam import Accelerator, Shutdown, ShutdownKind

if TYPE_CHECKING:
    from bimetal.machine.forking import Forking
    from bimetal.machine.live.disks import LiveDisks
    from bimetal.machine.looking import Looking
    from bimetal.machine.plugging import Plugging
    from bimetal.machine.screens import Screens
    from bimetal.machine.travelling import Travelling
else:
    Forking, LiveDisks, Looking, Plugging, Screens, Travelling = RARE_PARTS

__all__ = ["Machine"]


class Machine(
    Forking, Travelling, Equipment, Looking, Plugging, LiveDisks, Screens, MachineCore, Closes
):
    """A machine of the board called ``board``, which may have options: ``arm-virt,gic-version=3``.

    ``memory`` is a size like ``512M``; a text without a unit counts MiB, an int bytes. ``kernel``,
    ``initrd`` and ``bios`` are paths, ``flash`` those of flash images. ``kernel_format`` is
    ``auto``, or ``raw`` for a kernel without a header.
    Without ``bios`` the machine offers SBI itself; ``bios="none"`` starts the kernel in the CPU's
    most privileged mode. ``dtb`` is a compiled device tree to use in place of the board's own, with
    this machine's memory, command line and initrd put in; ``dtb_overlays`` change either.
    ``accel`` is an accelerator or the name of one; ``cpu_model`` is one of its `cpu_models`, the
    first if it is empty.
    ``serial`` says where the console leads (``none``, ``stdio``, ``pty``, ``file:PATH``,
    ``unix:PATH``, ``tcp:HOST:PORT``, or a back end); ``console`` reads and types there too.
    ``hvc`` adds a second console, a virtio one (``hvc0`` to Linux), that leads to such a place too.
    It knows the size of the terminal, its own or else that of ``serial``, also after a change.
    Without ``reboot`` a guest that resets the machine ends its run. With ``semihosting`` bare-metal
    programs may use the console, ask for the time and end the run by semihosting calls; they cannot
    reach files of the host. With ``background`` the jit leaves a background process behind for some
    seconds, which compiles for the next run what was hot and not compiled in time. ``clock`` is for
    tests.

    Raises `BimetalError`, here or in `start`, for errors that the user can correct.
    """

    def __init__(
        self,
        board: str = "riscv-virt",
        *,
        memory: str | int = "512M",
        cpus: int = 1,
        kernel: Path | None = None,
        kernel_format: str = "auto",
        initrd: Path | None = None,
        append: str = "",
        bios: Path | None = None,
        flash: Sequence[Path] = (),
        dtb: Path | None = None,
        dtb_overlays: Sequence[Path] = (),
        accel: str | Accelerator = "auto",
        cpu_model: str = "",
        serial: str | CharBackend = "none",
        hvc: str | CharBackend | None = None,
        reboot: bool = True,
        semihosting: bool = False,
        background: bool = True,
        clock: Clock | None = None,
    ):
        found, options = find_board(board)
        config = Config(
            memory=memory_size(memory),
            cpus=cpus,
            kernel=fspath(kernel) if kernel else None,
            kernel_format=kernel_format,
            initrd=fspath(initrd) if initrd else None,
            append=append,
            bios=fspath(bios) if bios else None,
            flash=tuple(fspath(path) for path in flash),
            dtb=fspath(dtb) if dtb else None,
            dtb_overlays=tuple(fspath(path) for path in dtb_overlays),
            reboot=reboot,
            semihosting=semihosting,
            options=options,
        )
        config.check(found.max_cpus)
        engine = Engine(accel, cpu_model, cpus, background)
        engine.check(found.isa)
        self._put_together(found, config, engine, serial, hvc, clock)

    # The run

    def start(self) -> None:
        """Power on, once in the life of a machine, or let a restored one go on. Raises
        `BimetalError` if it cannot start."""
        if self._gate.started:
            raise BimetalError("the machine was started before", "make a new one", ExitCode.USAGE)
        if not self._parts.restoring:
            self.config.check_runs()
        runner = self._built()
        if not self._parts.restoring:
            runner.power_on()
        if self.config.balloon:
            self.balloon().announce()
        self._gate.started = True
        with self._gate.lock:
            for end in (*self._consoles, *runner.hardware.host_ends):
                end.attach(self._service.reactor)
            if not self._gate.paused:
                self._clock.resume()
            gathering = Gathering(runner.areas, self._service.reactor.clock)
            self._closing.viewers.append(gathering)
        runner.start()

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end of the run; how it ended.

        Raises `TimedOut`, a TimeoutError, after ``timeout`` seconds, and `BimetalError` before the
        start.
        """
        self._gate.check_begun("its end cannot be waited for")
        if timeout is None:
            self._gate.over.wait()
        elif not self._gate.over.wait(min(timeout, TIMEOUT_MAX)):
            raise still_runs(timeout)
        self._check_failure()
        result = self._gate.result
        if result is None:
            raise RuntimeError("the run is over and has no result")
        return result

    def at_end(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """A context in which ``tell`` is called, in any thread, when the run ends."""
        return self._gate.on_over.with_(tell)

    def on_event(self, tell: Callable[[MachineEvent], object]) -> AbstractContextManager[None]:
        """A context in which ``tell`` is called, in any thread, when something happens to the whole
        machine. The machine waits meanwhile, so it must neither wait nor fail, nor ask the machine
        for anything."""
        return self._gate.on_event.with_(tell)

    @property
    def paused(self) -> bool:
        """Whether it is paused, or will be when it is started."""
        return self._gate.paused

    @property
    def full(self) -> bool:
        """Whether it is paused since the host has no room for what the guest writes, or has failed
        otherwise."""
        return self._gate.full and self._gate.paused

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended; it may be paused."""
        return self._gate.started and not self._gate.over.is_set()

    @property
    def result(self) -> Result | None:
        """How the run ended; None until it has."""
        return self._gate.result

    def stop(self) -> None:
        """End the run from outside, at once. Idempotent. Raises `TimedOut` if a CPU cannot be
        stopped because the host blocks its thread."""
        self._way_out()
        self._closing.stop()

    def reset(self) -> None:
        """Reset the machine as its reset button does: the guest starts again."""
        self._gate.check_begun("there is nothing to reset")
        runner = self._built()
        with self._gate.lock:
            runner.ask(Shutdown(ShutdownKind.RESET), guest=False)

    def press_power_button(self) -> None:
        """Press the power button, which asks the guest to shut down in order; whether it does is up
        to the guest. Raises `BimetalError` if the board has no such button."""
        runner = self._built()
        press = runner.hardware.power_button
        if press is None:
            raise BimetalError(
                f"the board {self.board} has no power button",
                "have the guest switch off, or cut the power: bimetal destroy; in Python, stop()",
                ExitCode.USAGE,
            )
        with runner.locked():
            press()
            self._gate.on_event(MachineEvent(EventKind.POWER_BUTTON))

    def pause(self) -> None:
        """Stop CPUs and time until `resume`; before `start`, start paused. Idempotent."""
        self._pause()

    def resume(self) -> None:
        """Undo `pause`. Idempotent. What the host had no room for is tried again. Raises
        `BimetalError` if it has gone to another process."""
        with self._gate.lock:
            self._check_here()
            self._gate.full = False
            if self._gate.started:
                self._clock.resume()
            self._gate.resume()
            if self._parts.hardware is not None:
                self._parts.hardware.try_again()
            self._service.reactor.wake()

    def close(self) -> None:
        """End the run and free everything. Idempotent; if Ctrl-C interrupts it, call it again.

        Our own part takes seconds at most: what our threads still use then is freed when the
        process ends. The host may need longer to write data of disks.
        """
        self._way_out()
        self._closing.close()
        if self._leaving is not None:
            self._leaving.close()

    @staticmethod
    def abandon() -> None:
        """For a program that ends at once (os._exit) without closing its machines: restore what
        would outlast the process, the modes of terminals and the files of sockets."""
        undo_all()

    # What it is

    @property
    def board(self) -> str:
        """The name of the board."""
        return self._board.name

    @property
    def accel(self) -> str:
        """The accelerator's name; until the machine is built, the requested one (``auto``)."""
        return self._parts.accel

    @staticmethod
    def boards() -> dict[str, Board]:
        """The boards by name: each with its ``isa``, a ``summary``, and its ``options``."""
        return all_boards()

    @staticmethod
    def accelerators(board: str = "riscv-virt") -> dict[str, str]:
        """The accelerators by name, those first that can run such a machine here: "" where ``auto``
        may choose it, and else a text that says why it does not."""
        return accelerators(find_board(board)[0].isa)

    @staticmethod
    def cpu_models(board: str = "riscv-virt", accel: str = "auto") -> tuple[str, ...]:
        """The processor models that such a machine can have here, the default one first.

        Raises `BimetalError` if ``accel`` cannot run the board here.
        """
        return models(accel, find_board(board)[0].isa)

    def __getitem__(self, name: str) -> Any:
        """The device of that name, as in ``vm["uart@10000000"].LSR``: a `DeviceView`, used under
        the machine's lock. KeyError lists the names."""
        return self.devices[name]

    def __contains__(self, name: object) -> bool:
        return name in self.devices

    def __iter__(self) -> Iterator[str]:
        return iter(self.devices)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.devices)

    def __repr__(self) -> str:
        cpus, size = self.config.cpus, format_size(self.config.memory)
        what = f"{self.board}, {cpus} CPU{'s' * (cpus > 1)}, {size}, accelerator {self.accel}"
        return f"<Machine {what}: {'closed' if self._parts.closed else self._gate.state}>"
