"""A vCPU: run it, turn KVM's exits into the seam's, write the answers back, stop it from outside.

What differs between architectures (registers, interrupts, debug) is in the subclasses.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.abi import ExitReason, Run
from bimetal.accel.kvm.device import KvmUnavailable
from bimetal.accel.kvm.kernel import Handle
from bimetal.accel.kvm.kick import interrupt_thread, kick_signal
from bimetal.base.log import EventLog
from bimetal.seam import CpuFault, Exit, Halt, Kicked, Mmio, Pio

if TYPE_CHECKING:
    from bimetal.accel.kvm.vm import KvmMachine

__all__ = ["KvmCpu"]

ACCESS_SIZES = frozenset((1, 2, 4, 8))
NO_ANSWER = 0
"""No exit has its data at the start of the shared area, so offset 0 says: nothing to write back."""


class KvmCpu(ABC):
    """One vCPU of a `KvmMachine`; a `bimetal.seam.Cpu`."""

    def __init__(self, vm: KvmMachine, index: int):
        self.index = index
        self.vm = vm
        self.events = EventLog(f"cpu{index}")
        kick_signal()
        try:
            self.handle = Handle(vm.device.kernel, vm.handle.ioctl(abi.CREATE_VCPU, index))
        except OSError as error:
            raise _explain_create_error(error, index) from error
        try:
            self._run = vm.device.kernel.map(self.handle.fd, vm.device.run_size)
        except OSError as error:
            self.handle.close()
            raise _explain_create_error(error, index) from error
        self._mmio, self._pio, self._halt, self._kicked_exit = Mmio(), Pio(), Halt(), Kicked()
        self._asked: Mmio | Pio = self._mmio
        self._answer_at = NO_ANSWER
        self._pieces: deque[tuple[Exit, int]] = deque()
        self._kick_wanted = False
        self._unfinished = False
        self._thread: threading.Thread | None = None
        self._native_thread = 0
        self._exits = self._exit_handlers()

    # -- running ---------------------------------------------------------------------------

    def run(self) -> Exit:
        """Run, without holding the GIL, until the board is needed."""
        self._note_thread()
        self._write_answer()
        if self._pieces:
            return self._next_piece()
        ioctl, fd = self.handle.kernel.ioctl, self.handle.fd
        while True:
            waiting = self._before_entry()
            if waiting is not None:
                return waiting
            try:
                ioctl(fd, abi.RUN, 0)
            except (InterruptedError, BlockingIOError):
                # A kick, a signal for someone else, or (EAGAIN) an application processor that
                # has just left its wait-for-SIPI state: api.rst, KVM_RUN.
                self._unfinished = False
                found: Exit | None = self._take_kick()
            except OSError as error:
                found = self._refused(error)
            else:
                self._unfinished = True
                found = self._decode()
            if self.vm.coalesced.active:
                found = self._after_coalesced(found)
            if found is not None:
                return found

    def kick(self) -> None:
        """Make the current, or else the next, `run` return `Kicked` soon."""
        self._kick_wanted = True
        self.interrupt()

    def interrupt(self) -> None:
        """Make KVM_RUN return, so that `run` looks at what changed. From any thread."""
        self._run[Run.IMMEDIATE_EXIT] = 1
        if self._native_thread:
            interrupt_thread(self._native_thread)

    def _note_thread(self) -> None:
        # Compared by the object: the system gives the identifiers of ended threads to new ones.
        thread = threading.current_thread()
        if thread is not self._thread:
            self._thread, self._native_thread = thread, threading.get_native_id()

    def _take_kick(self) -> Exit | None:
        """`Kicked` if a kick was asked for. The flag goes first: what set it is looked at next."""
        self._run[Run.IMMEDIATE_EXIT] = 0
        if self._kick_wanted:
            self._kick_wanted = False
            return self._kicked_exit
        return None

    def _decode(self) -> Exit | None:
        reason = abi.U32.unpack_from(self._run, Run.EXIT_REASON)[0]
        handler = self._exits.get(reason)
        return self._unexpected(reason) if handler is None else handler()

    def _before_entry(self) -> Exit | None:
        """Do what has been asked of the vCPU's thread; if it returns an exit, the guest is not
        entered."""
        return None

    def _exit_handlers(self) -> dict[int, Callable[[], Exit | None]]:
        """What to do for each exit reason; None as a result means: run on."""
        return {
            ExitReason.IO: self._on_io,
            ExitReason.MMIO: self._on_mmio,
            ExitReason.HLT: self._on_halt,
            ExitReason.INTR: self._take_kick,
            ExitReason.SHUTDOWN: lambda: self.fault("the guest took a triple fault"),
            ExitReason.FAIL_ENTRY: self._on_fail_entry,
            ExitReason.INTERNAL_ERROR: self._on_internal_error,
        }

    # -- accesses --------------------------------------------------------------------------

    def _on_mmio(self) -> Exit:
        address, data, length, write = abi.MMIO_EXIT.unpack_from(self._run, Run.UNION)
        if length not in ACCESS_SIZES:
            return self._split_mmio(address, data[:length], bool(write))
        exit = self._mmio
        exit.address, exit.size, exit.write = address, length, bool(write)
        exit.value = int.from_bytes(data[:length], "little") if write else 0
        if not write:
            self._asked, self._answer_at = exit, Run.MMIO_DATA
        return exit

    def _split_mmio(self, address: int, data: bytes, write: bool) -> Exit:
        """An access of 3, 5, 6 or 7 bytes (a part of one that crosses a page), in aligned ones."""
        offset = 0
        while offset < len(data):
            size = 4
            while (address + offset) % size or offset + size > len(data):
                size //= 2
            value = int.from_bytes(data[offset : offset + size], "little") if write else 0
            answer_at = NO_ANSWER if write else Run.MMIO_DATA + offset
            self._pieces.append((Mmio(address + offset, size, write, value), answer_at))
            offset += size
        return self._next_piece()

    def _on_io(self) -> Exit:
        out, size, port, count, offset = abi.IO_EXIT.unpack_from(self._run, Run.UNION)
        if count != 1:
            return self._split_io(bool(out), size, port, count, offset)
        exit = self._pio
        exit.port, exit.size, exit.write = port, size, bool(out)
        exit.value = int.from_bytes(self._run[offset : offset + size], "little") if out else 0
        if not out:
            self._asked, self._answer_at = exit, offset
        return exit

    def _split_io(self, out: bool, size: int, port: int, count: int, offset: int) -> Exit:
        """A repeated string instruction: one exit for each element."""
        for place in range(offset, offset + size * count, size):
            value = int.from_bytes(self._run[place : place + size], "little") if out else 0
            self._pieces.append((Pio(port, size, out, value), NO_ANSWER if out else place))
        return self._next_piece()

    def _next_piece(self) -> Exit:
        exit, self._answer_at = self._pieces.popleft()
        if isinstance(exit, Mmio | Pio):
            self._asked = exit
        return exit

    def _write_answer(self) -> None:
        """Give the guest what the board put into the last read."""
        if self._answer_at:
            size = self._asked.size
            data = self._asked.value.to_bytes(size, "little")
            self._run[self._answer_at : self._answer_at + size] = data
            self._answer_at = NO_ANSWER

    def _after_coalesced(self, found: Exit | None) -> Exit | None:
        """The writes that the kernel collected come first, then what ended the run."""
        collected = self.vm.coalesced.drain(self._run)
        if not collected:
            return found
        if found is not None:
            self._pieces.appendleft((found, self._answer_at))
        self._pieces.extendleft((exit, NO_ANSWER) for exit in reversed(collected))
        return self._next_piece()

    def settle(self) -> None:
        """Let the kernel finish the access that the last exit was about.

        Registers are between two instructions only after that: needed before they are saved or
        changed. The rest of a repeated or split access must have been answered.
        """
        if self._pieces:
            raise RuntimeError(f"cpu{self.index} still asks the board: {self._pieces[0][0]!r}")
        self._write_answer()
        if self._unfinished:
            self._run[Run.IMMEDIATE_EXIT] = 1
            with suppress(InterruptedError, BlockingIOError):
                self.handle.kernel.ioctl(self.handle.fd, abi.RUN, 0)
            self._run[Run.IMMEDIATE_EXIT] = int(self._kick_wanted)
            self._unfinished = False

    # -- halts and faults ------------------------------------------------------------------

    def _on_halt(self) -> Exit | None:
        return self._halt

    def _on_fail_entry(self) -> Exit:
        reason, _ = abi.FAIL_ENTRY_EXIT.unpack_from(self._run, Run.UNION)
        return self.fault(f"the processor refuses the guest's state (hardware reason {reason:#x})")

    def _on_internal_error(self) -> Exit | None:
        suberror, count, *data = abi.INTERNAL_EXIT.unpack_from(self._run, Run.UNION)
        what = abi.INTERNAL_ERRORS.get(suberror, f"internal error {suberror}")
        words = " ".join(f"{word:#x}" for word in data[: min(count, len(data))])
        return self.fault(f"KVM cannot go on: {what}", f"data: {words}" if words else "")

    def _unexpected(self, reason: int) -> Exit:
        known = {member.value for member in ExitReason}
        name = ExitReason(reason).name if reason in known else str(reason)
        return self.fault(f"KVM left the guest for a reason that nothing here handles: {name}")

    def _refused(self, error: OSError) -> Exit:
        if error.errno == errno.EFAULT:
            return self.fault("the guest used memory that is gone from this process")
        return self.fault(f"KVM does not run the vCPU: {error.strerror}")

    def fault(self, message: str, note: str = "") -> CpuFault:
        """An exit that explains why this CPU cannot continue, with its registers and code."""
        try:
            details = self.describe()
        except OSError as error:
            details = f"the registers cannot be read: {error.strerror}"
        return CpuFault(message, "\n".join(part for part in (note, details) if part))

    # -- state -----------------------------------------------------------------------------

    def flush(self) -> None:  # noqa: B027 - not abstract: there is nothing to do
        """KVM keeps its caches coherent with memory by itself: nothing to forget."""

    @property
    @abstractmethod
    def register_names(self) -> Sequence[str]:
        """The names that `read_register` and `write_register` take, in the manual's order."""

    @abstractmethod
    def read_register(self, name: str) -> int:
        """A register as an unsigned integer; KeyError for a name that the CPU does not have."""

    @abstractmethod
    def write_register(self, name: str, value: int) -> None:
        """Set a register; OverflowError if the value does not fit."""

    @abstractmethod
    def set_line(self, line: int, level: bool) -> None:
        """Drive an interrupt input."""

    @abstractmethod
    def reset(self) -> None:
        """Put every register into its reset state."""

    @abstractmethod
    def save(self) -> Mapping[str, object]:
        """The whole architectural state as plain values."""

    @abstractmethod
    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `save` returned."""

    @abstractmethod
    def describe(self) -> str:
        """Registers and the code at the program counter, for the report of a fault."""

    def close(self) -> None:
        """Give back the descriptor and the shared area. Idempotent."""
        self._native_thread = 0
        if not isinstance(self._run, bytearray):
            self._run.close()
        self.handle.close()


def _explain_create_error(error: OSError, index: int) -> KvmUnavailable:
    match error.errno:
        case errno.EINVAL:
            return KvmUnavailable(f"KVM refuses CPU {index}", "give the machine fewer CPUs")
        case errno.EMFILE | errno.ENFILE:
            remedy = "raise the limit of open files (ulimit -n)"
        case errno.ENOMEM:
            remedy = "free some memory, or give the machine fewer CPUs"
        case _:
            remedy = ""
    return KvmUnavailable(f"KVM does not create CPU {index}: {error.strerror}", remedy)
