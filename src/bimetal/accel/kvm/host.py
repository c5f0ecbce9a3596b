"""KVM on this host: the machine class of its architecture, and the proof that it works."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bimetal.accel.kvm.device import Device, KvmUnavailable
from bimetal.accel.kvm.kernel import Kernel
from bimetal.accel.kvm.vm import KvmMachine

__all__ = ["ARCHITECTURES", "check_model", "create", "handover", "models", "stands_in"]

ARCHITECTURES = {
    "x86_64": "bimetal.accel.kvm.x86:X86Machine",
    "aarch64": "bimetal.accel.kvm.arm:ArmMachine",
    "riscv64": "bimetal.accel.kvm.riscv:RiscvMachine",
}
"""The machine class for each name of `platform.machine`."""

HANDOVERS = {"x86_64": "bimetal.accel.kvm.x86_handover"}
"""By the same names, the modules by which machines change from our own accelerators to KVM, and
back."""


def handover(isa: str) -> Any:
    """The module for such changes; None if machines of ``isa`` do not change."""
    return import_module(HANDOVERS[isa]) if isa in HANDOVERS else None


def create(
    isa: str, *, cpus: int = 1, model: str = "host", kernel: Kernel | None = None, **options: Any
) -> KvmMachine:
    """A machine on this host's KVM. Raises `KvmUnavailable` if it cannot be had.

    ``options`` are those of the architecture's class; ``kernel`` stands in for the host in tests.
    """
    machine_class = _machine_class(isa)
    device = Device(kernel)
    closing: Device | KvmMachine = device
    try:
        machine: KvmMachine = machine_class(device, cpus, model=model, **options)
        closing = machine
        machine.prove()
    except OSError as error:
        closing.close()
        raise KvmUnavailable(f"KVM does not set up a machine: {error.strerror}") from error
    except BaseException:
        closing.close()
        raise
    return machine


def models(isa: str) -> tuple[str, ...]:
    """The processor models of ``isa``, the default one first. Raises `KvmUnavailable`."""
    known: tuple[str, ...] = _machine_class(isa).models
    return known


def check_model(isa: str, model: str) -> None:
    """Raise `BimetalError` for a name that is none of a processor of ``isa``, on any host."""
    _machine_class(isa).check_model(model)


def stands_in(isa: str) -> bool:
    """Whether KVM's interrupt controllers take the place of those that a board has itself, which
    are not in use then."""
    return bool(_machine_class(isa).stands_in)


def _machine_class(isa: str) -> Any:
    if isa not in ARCHITECTURES:
        raise KvmUnavailable(f"KVM support for {isa} is not written yet", "use another accelerator")
    module, _, name = ARCHITECTURES[isa].partition(":")
    return getattr(import_module(module), name)
