"""x86 under KVM: the machine with its interrupt controllers and clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm import x86_cpuid as cpuid
from bimetal.accel.kvm.abi import Capability
from bimetal.accel.kvm.device import Device
from bimetal.accel.kvm.interrupts import Routes, deliver_message, pc_routes
from bimetal.accel.kvm.vm import KvmMachine
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.accel.kvm.x86_features import LEVELS
from bimetal.accel.kvm.x86_state import msr_indices
from bimetal.base.late import LateModule
from bimetal.base.log import logger
from bimetal.isa.x86.models import MODELS, processor

if TYPE_CHECKING:
    from bimetal.accel.kvm import x86_described
else:
    x86_described = LateModule("bimetal.accel.kvm.x86_described")

__all__ = ["Controller", "X86Machine"]

Controller = Literal["kernel", "split", "none"]
"""Who models the interrupt controllers: the kernel all of them; the kernel the local APICs and the
board the I/O APIC; or nobody, so that lines go to the CPUs themselves."""


DESCRIBED = tuple(name for name in MODELS if name not in LEVELS)
"""The processors that are the same with our own accelerators; levels are made of the host's."""
ZMM_UPPER = (0xD, 6)
"""The function, and index, of CPUID that tells where XSAVE puts the upper halves of ZMM0 to ZMM15
(SDM volume 1, 13.2)."""


def is_described(model: str) -> bool:
    """Whether it is a processor that our own accelerators have, too."""
    return model.partition(",")[0].strip() in DESCRIBED


class X86Machine(KvmMachine):
    """An x86-64 machine: an `Accelerator` with all the optional abilities of the seam.

    ``controller`` says who models the interrupt controllers and ``model`` what CPUID tells
    (`x86_cpuid.parse_model`, or `x86_described` for the processor of our own accelerators).
    """

    models = (*LEVELS, *DESCRIBED)
    stands_in = True

    def __init__(
        self,
        device: Device,
        cpus: int = 1,
        *,
        controller: Controller = "kernel",
        model: str = "host",
    ):
        self.controller: Controller = controller
        self.msrs = msr_indices(device)
        self._model = model
        self._leaves = self._told(device)
        self._told_of_time = False
        self._routes: Routes | None = None
        super().__init__(device, cpus)

    @classmethod
    def check_model(cls, model: str) -> None:
        """See `KvmMachine.check_model`; of changes it is the names that are looked at."""
        if is_described(model):
            processor(model)
        else:
            cpuid.check_names(model)

    def _told(self, device: Device) -> list[cpuid.Leaf]:
        """What CPUID tells, but for what differs from CPU to CPU. Raises `BimetalError`."""
        host = cpuid.supported(device)
        self.zmm_at = sum(leaf.ebx for leaf in host if (leaf.function, leaf.index) == ZMM_UPPER)
        if not is_described(self._model):
            named = cpuid.with_brand(host, cpuid.host_brand())
            return cpuid.parse_model(self._model, named)
        leaves = x86_described.described_leaves(self._model, 0)
        x86_described.check_host(self._model, leaves, host)
        return leaves

    def _set_up(self) -> None:
        self.xsave_size = self._capability(Capability.XSAVE2) or x86.XSAVE_SIZE
        identity_map = bytearray(x86.IDENTITY_MAP_ADDRESS.to_bytes(8, "little"))
        self.handle.ioctl(x86.SET_IDENTITY_MAP_ADDR, identity_map)
        self.handle.ioctl(x86.SET_TSS_ADDR, x86.TSS_ADDRESS)
        if self.device.capability(Capability.X86_USER_SPACE_MSR):
            self.enable(Capability.X86_USER_SPACE_MSR, x86.MSR_EXIT_UNKNOWN)
        self._routes = self._create_controller()

    def _capability(self, number: Capability) -> int:
        """What the machine, not the device, answers: some capabilities differ from VM to VM."""
        try:
            return self.handle.ioctl(abi.CHECK_EXTENSION, number)
        except OSError:
            return 0

    def _create_controller(self) -> Routes | None:
        match self.controller:
            case "kernel":
                self.device.require(Capability.IRQCHIP)
                self.handle.ioctl(x86.CREATE_IRQCHIP)
                routes = pc_routes()
            case "split":
                self.device.require(Capability.SPLIT_IRQCHIP)
                self.enable(Capability.SPLIT_IRQCHIP, x86.IO_APIC_PINS)
                routes = {}
            case "none":
                return None
        return Routes(self.handle, self.device.require(Capability.IRQ_ROUTING), routes)

    def _create_cpu(self, index: int) -> X86Cpu:
        if not is_described(self._model):
            return X86Cpu(self, index, cpuid.for_cpu(self._leaves, index, self.cpu_count))
        cpu = X86Cpu(self, index, x86_described.described_leaves(self._model, index))
        self._count_as_described(cpu)
        return cpu

    def _count_as_described(self, cpu: X86Cpu) -> None:
        """Have the time-stamp counter count as fast as CPUID tells, if the processor can."""
        try:
            cpu.handle.ioctl(x86.SET_TSC_KHZ, x86_described.TSC_KHZ)
        except OSError:
            if not self._told_of_time:
                khz = cpu.handle.ioctl(x86.GET_TSC_KHZ)
                logger("accel").warning(
                    "this host's KVM counts time stamps at %.1f GHz and cannot count nanoseconds: "
                    "guests that tell the time by them are as much too fast",
                    khz / 1e6,
                )
            self._told_of_time = True

    @property
    def routes(self) -> Routes:
        """The interrupt routes. RuntimeError if the machine has no interrupt controller."""
        if self._routes is None:
            raise RuntimeError("this machine was created without an interrupt controller")
        return self._routes

    def set_irq(self, irq: int, level: bool) -> None:
        """Drive the global system interrupt ``irq``."""
        self.handle.ioctl(abi.IRQ_LINE, abi.IRQ_LEVEL.new(irq=irq, level=int(level)))

    def bind_irq(self, irq: int, fd: int, resample_fd: int | None = None) -> None:
        """Let a write to the eventfd ``fd`` raise ``irq``, see `InterruptController.bind_irq`."""
        self.routes.bind(irq, fd, resample_fd)

    def unbind_irq(self, irq: int, fd: int) -> None:
        """Undo `bind_irq`."""
        self.routes.unbind(irq, fd)

    def send_msi(self, address: int, data: int) -> None:
        """Deliver a message-signalled interrupt."""
        deliver_message(self.handle, address, data)

    def save(self) -> dict[str, object]:
        """The kernel's interrupt controllers and the guest's clock (kvmclock, nanoseconds)."""
        clock = self.handle.read(x86.GET_CLOCK, abi.CLOCK.size)
        state: dict[str, object] = {"clock": abi.CLOCK.get(clock, "clock")}
        if self.controller == "kernel":
            state["chips"] = [
                bytes(self.handle.read(x86.GET_IRQCHIP, x86.IRQCHIP_SIZE, number=chip))
                for chip in (x86.PIC_MASTER, x86.PIC_SLAVE, x86.IO_APIC)
            ]
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        for chip in state.get("chips", ()):
            self.handle.ioctl(x86.SET_IRQCHIP, bytearray(chip))
        self.handle.ioctl(x86.SET_CLOCK, abi.CLOCK.new(clock=state["clock"]))
