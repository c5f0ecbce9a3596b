"""The emulators by the names of their programs, and what each of them is told of and tells.

The names of kinds of machines are those that libvirt and people know boards by: libvirt tells them
apart by how they begin, and firmware's descriptors by their versions.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.near import choose_from

__all__ = ["ABSENT", "NO_MACHINE", "TARGETS", "MachineKind", "Target", "target_named"]

PREFIX = "qemu-system-"
NO_MACHINE = "none"
"""The kind of machine that has nothing, of an emulator that is only asked what there is."""

HOST_BRIDGE = "gpex-pcihost"


class MachineKind(Struct, frozen=True):
    """A kind of machine: the ``board`` that it is here, and how many CPUs that takes at most.
    ``options`` are what ``-machine`` may say of it, with the option of the board that each is, and
    ``pins`` those that may only be one value. ``pci`` is whether it has PCI Express."""

    name: str
    alias: str
    board: str
    cpu_max: int
    options: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    pci: bool = True
    controllers: tuple[int, ...] = ()
    """The versions of interrupt controllers among which ``-machine`` may choose."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Types of devices that clients look for and that the board has itself, with what each is a
    kind of."""

    @property
    def type_name(self) -> str:
        """Its name in the tree of types."""
        return f"{self.name}-machine"


class Target(Struct, frozen=True):
    """An emulator of machines of an instruction set, ``isa``, whose processor is ``models``: the
    names by which others ask for them, and those that they have here, the usual one first. Those of
    ``by_kvm`` are there under KVM alone."""

    isa: str
    machines: tuple[MachineKind, ...]
    models: Mapping[str, str]
    suffix: str
    features: Mapping[str, str] = field(default_factory=dict)
    """Where the names of those features stand that can be left away from a model, by its name; or a
    function that says of a model which it has of those that can be changed."""
    adds: bool = False
    """Whether features can be added to models too."""
    by_kvm: tuple[str, ...] = ()
    unfinished: bool = False
    """Whether its instruction set is translated only where that is asked for by name."""

    @property
    def program(self) -> str:
        """The name of its program."""
        return PREFIX + self.isa

    def machine(self, name: str) -> MachineKind:
        """The kind of machine of that name. Raises `BimetalError`."""
        for kind in self.machines:
            if name in (kind.name, kind.alias):
                return kind
        named = [each for kind in self.machines for each in (kind.alias, kind.name)]
        names = dict.fromkeys([*named, NO_MACHINE])
        raise BimetalError(
            f"{self.program} has no machine {name[:80]!r}",
            choose_from(name[:80], names),
            ExitCode.USAGE,
        )

    def type_of(self, model: str) -> str:
        """The name of a processor model in the tree of types."""
        return f"{model}-{self.suffix}"


_X86 = (
    *("max", "x86-64-v1", "x86-64-v2", "x86-64-v3", "qemu64", "Nehalem", "Westmere"),
    *("SandyBridge", "IvyBridge", "Haswell-noTSX", "Broadwell-noTSX"),
    *("Skylake-Client-noTSX-IBRS", "EPYC"),
)
_X86_BY_KVM = ("x86-64-v4", "host")

TARGETS: Mapping[str, Target] = {
    target.isa: target
    for target in (
        Target(
            "riscv64",
            (
                MachineKind(
                    "virt",
                    "virt",
                    "riscv-virt",
                    64,
                    options={"aia": "aia"},
                    pins={"acpi": "off", "aclint": "off"},
                    parts={HOST_BRIDGE: "pcie-host-bridge"},
                ),
            ),
            {"rv64": "rv64", "max": "rv64"},
            "riscv-cpu",
            dict.fromkeys(("rv64", "max"), "bimetal.isa.riscv.extensions:FEATURES"),
        ),
        Target(
            "aarch64",
            (
                MachineKind(
                    "virt-9.2",
                    "virt",
                    "arm-virt",
                    123,
                    options={
                        "gic-version": "gic",
                        "virtualization": "virtualization",
                        "acpi": "acpi",
                    },
                    pins={"secure": "off", "mte": "off", "iommu": "none", "ras": "off"},
                    controllers=(2, 3),
                    parts={HOST_BRIDGE: "pcie-host-bridge", "pl011": "sys-bus-device"},
                ),
            ),
            {
                "cortex-a57": "cortex-a57",
                "cortex-a53": "cortex-a53",
                "cortex-a72": "cortex-a72",
                "cortex-a76": "cortex-a76",
                "neoverse-n1": "neoverse-n1",
                "max": "max",
            },
            "arm-cpu",
            {"max": "bimetal.isa.arm.models:SWITCHES"},
        ),
        Target(
            "x86_64",
            (MachineKind("microvm", "microvm", "microvm", 240, pci=False),),
            {name: name for name in (*_X86, *_X86_BY_KVM)},
            "x86_64-cpu",
            dict.fromkeys(_X86, "bimetal.isa.x86.models:switches"),
            adds=True,
            by_kvm=_X86_BY_KVM,
            unfinished=True,
        ),
    )
}
"""The emulators that there are, by instruction set."""

ABSENT: Mapping[str, str] = {
    "ppc64": "there is no board for it yet",
    "i386": "use the one of x86_64, which runs its programs",
    "arm": "there is no board for it yet",
    "riscv32": "there is no board for it yet",
    "s390x": "there is no board for it yet",
}
"""Emulators that people know and that are not there, with the reason."""


def target_named(program: str) -> Target:
    """The emulator whose program has that name, or path. Raises `BimetalError`."""
    name = program.rpartition("/")[2].removeprefix(PREFIX)
    if name in TARGETS:
        return TARGETS[name]
    raise BimetalError(
        f"there is no emulator {PREFIX}{name[:40]}",
        ABSENT.get(name) or choose_from(name[:40], TARGETS),
        ExitCode.UNAVAILABLE,
    )
