"""Looking into a machine: a part of `Machine`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar, overload

from bimetal.base.late import late
from bimetal.machine.core import MachineCore
from bimetal.machine.counting import Stats, counters_of, stats_of
from bimetal.machine.cpu_view import CpuView
from bimetal.machine.device_view import Devices
from bimetal.machine.memory_view import MemoryView

if TYPE_CHECKING:
    from bimetal.devices.traffic import Traffic
    from bimetal.machine.drives import Drive
    from bimetal.machine.explaining import Explanation
    from bimetal.machine.observing import Observation
    from bimetal.machine.profile import GuestProfile, Profiler

__all__ = ["Looking"]

SAMPLES = 10
"""Looks at a machine that is to be explained."""

AnyDevice = TypeVar("AnyDevice")
Path = str | PathLike[str]


class Looking(MachineCore):
    """Methods that tell what is in a machine, and what it does."""

    @property
    def cpus(self) -> tuple[CpuView, ...]:
        """The CPUs, for access to their registers."""
        runner = self._built()
        return tuple(CpuView(runner, vcpu) for vcpu in runner.vcpus)

    @property
    def memory(self) -> MemoryView:
        """Guest-physical memory."""
        return MemoryView(self._built())

    @property
    def devices(self) -> Devices:
        """The devices by name: a mapping whose values are those of ``vm[name]``."""
        return Devices(self._built())

    def drives(self) -> list[Drive]:
        """The disks and CD-ROM drives that it has now."""
        runner = self._built()
        with runner.locked():
            found: list[Drive] = late("bimetal.machine.drives:drives_of")(runner)
            return found

    def traffic(self) -> dict[str, Traffic]:
        """What its NICs have received and sent, by their addresses."""
        runner = self._built()
        with runner.locked():
            seen: dict[str, Traffic] = late("bimetal.machine.cables:traffic_of")(runner.hardware)
            return seen

    @overload
    def device(self, kind: str) -> Any: ...
    @overload
    def device(self, kind: type[AnyDevice], name: str = "") -> AnyDevice: ...
    def device(self, kind: type[AnyDevice] | str, name: str = "") -> Any:
        """The device of the class ``kind``, as in ``vm.device(Ns16550a).LSR``; of several, that
        called ``name``. A name alone will do, as in ``vm[name]``. It is used under the machine's
        lock, see `DeviceView`. KeyError if there is not exactly one."""
        return self.devices[kind] if isinstance(kind, str) else self.devices.one(kind, name)

    def info_mtree(self) -> str:
        """The memory map as text."""
        return self._built().hardware.space.mtree()

    def device_tree(self) -> bytes:
        """The device tree that the guest gets, as a flattened blob (DTB), but for the random seed
        of each start. Needs neither kernel nor `start`.

        Raises `BimetalError` for files that cannot be used, and on boards without a device tree.
        """
        return self._parts.furnished().boot.device_tree()

    def counters(self) -> dict[str, dict[str, int]]:
        """All counters so far, grouped: those of ``cpu0`` and so on and of the accelerator, if they
        have any; ``cpu0 exits`` by kind; and ``accesses`` to devices, by device."""
        return counters_of(self._built())

    def stats(self) -> Stats:
        """What the run has cost so far: time, `counters`, guest errors. Its text is a report."""
        return stats_of(self._built())

    def observe(self, *, whole: bool = True) -> Observation:
        """What can be seen of it now, for `explain`; the ``whole`` of it takes some milliseconds
        more, to find out why there is no KVM."""
        isa = self._board.isa if whole else ""
        look = late("bimetal.machine.observing:observe")
        seen: Observation = look(self._built(), paused=self._gate.paused, isa=isa)
        return seen

    def explain(self, seconds: float = 2.0) -> Explanation:
        """Why it is slow: causes, with figures, from what is seen of it for so many seconds. It is
        halted for some moments meanwhile. Raises `BimetalError` if it was not started."""
        self._gate.check_begun("there is nothing to see")
        seen = [self.observe()]
        for _ in range(SAMPLES):
            self._gate.over.wait(seconds / SAMPLES)
            seen.append(self.observe(whole=False))
        found: Explanation = late("bimetal.machine.explaining:explain")(seen)
        return found

    def start_profile(self, symbols: Sequence[Path] = ()) -> None:
        """Begin to sample where the guest executes, for `profile`. Call before or after `start`.

        Functions have the names that ``symbols`` (ELF files, or lists like System.map or the
        guest's /proc/kallsyms), kernel and bios give them. Raises `BimetalError` for a file that
        cannot be used, and for an accelerator that takes no samples.
        """
        self._profiling().start([fspath(path) for path in symbols])

    def profile(self) -> GuestProfile:
        """Where the guest has executed since `start_profile`, by function."""
        return self._profiling().profile()

    def _profiling(self) -> Profiler:
        with self._gate.lock:
            if self._profiler is None:
                self._profiler = late("bimetal.machine.profile:Profiler")(self._parts)
            return self._profiler
