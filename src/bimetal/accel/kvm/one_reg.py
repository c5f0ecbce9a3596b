"""vCPUs whose registers have numbers: Arm and RISC-V (api.rst, KVM_GET_ONE_REG).

The number of a register says its architecture, its size and, for system registers, its encoding
in the architecture; KVM_GET_REG_LIST lists those that make up the state of a vCPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.kernel import address_of
from bimetal.accel.kvm.vcpu import KvmCpu
from bimetal.accel.kvm.vm import KvmMachine
from bimetal.seam import FirmwareCall

__all__ = ["U32", "U64", "U128", "OneRegCpu", "size_of"]

U32, U64, U128 = 2 << 52, 3 << 52, 4 << 52
"""The size of a register, as its number tells it."""

LIST_LIMIT = 4096
RUNNABLE, STOPPED = 0, 5


def size_of(register: int) -> int:
    """The bytes of the register of this number."""
    return 1 << (register >> 52 & 0xF)


class OneRegCpu(KvmCpu):
    """A vCPU with registers by number; ``NUMBERS`` gives them names."""

    NUMBERS: ClassVar[Mapping[str, int]]

    def __init__(self, vm: KvmMachine, index: int):
        super().__init__(vm, index)
        self._call = FirmwareCall()
        self._called = False
        try:
            self._start_up()
            self._listed = self._list()
            self._initial = self.save()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start_up(self) -> None:
        """Bring the new vCPU into its reset state; those after the first wait to be started."""

    @property
    def register_names(self) -> Sequence[str]:
        """The names of this architecture, in its manual's order."""
        return tuple(self.NUMBERS)

    def read_register(self, name: str) -> int:
        """A register as an unsigned integer."""
        return self.read_number(self.NUMBERS[name])

    def write_register(self, name: str, value: int) -> None:
        """Set a register. The rest of an access is over before."""
        number = self.NUMBERS[name]
        self.settle()
        self.write_number(number, value)

    def read_number(self, register: int) -> int:
        """The value of the register of this number."""
        buffer = bytearray(size_of(register))
        request = abi.ONE_REG.new(id=register, address=address_of(buffer))
        self.handle.ioctl(abi.GET_ONE_REG, request)
        return int.from_bytes(buffer, "little")

    def write_number(self, register: int, value: int) -> None:
        """Set the register of this number; OverflowError if ``value`` does not fit."""
        buffer = bytearray(value.to_bytes(size_of(register), "little"))
        request = abi.ONE_REG.new(id=register, address=address_of(buffer))
        self.handle.ioctl(abi.SET_ONE_REG, request)

    def _list(self) -> list[int]:
        """The numbers of all registers of this vCPU."""
        buffer = bytearray(8 * (1 + LIST_LIMIT))
        buffer[0:8] = LIST_LIMIT.to_bytes(8, "little")
        self.handle.ioctl(abi.GET_REG_LIST, buffer)
        count = abi.U64.unpack_from(buffer)[0]
        return [abi.U64.unpack_from(buffer, 8 + 8 * place)[0] for place in range(count)]

    def _write_answer(self) -> None:
        if self._called:
            self._called = False
            self._write_results(self._call.results)
        super()._write_answer()

    def _write_results(self, results: tuple[int, ...]) -> None:
        """Give the guest what the board answered to a call to firmware."""

    def reset(self) -> None:
        """The state in which the vCPU was created."""
        self._pieces.clear()
        self._called = False
        self.load(self._initial)

    def save(self) -> dict[str, object]:
        """Every register that the kernel lists, by number, and whether the CPU runs."""
        self.settle()
        state = abi.U32.unpack(self.handle.read(abi.GET_MP_STATE, 4))[0]
        return {
            "registers": {number: self.read_number(number) for number in self._listed},
            "mp_state": state,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned; what the kernel does not let be set is left alone."""
        self.settle()
        for number, value in state["registers"].items():
            try:
                self.write_number(number, value)
            except OSError:
                self.events.unimplemented("a register that KVM does not let be set", f"{number:#x}")
        self.handle.ioctl(abi.SET_MP_STATE, bytearray(abi.U32.pack(state["mp_state"])))

    def describe(self) -> str:
        """General registers, four a line."""
        names = list(self.NUMBERS)
        words = [f"{name:<9} {self.read_register(name):016x}" for name in names[:36]]
        return "\n".join("  ".join(words[at : at + 4]) for at in range(0, len(words), 4))
