"""The boards. Importing this package makes all of them known, by name; what puts one together is
imported when one is made."""

from __future__ import annotations

from bimetal.boards.choices import AIA, BUS, MMIO_VERSIONS, PORTS
from bimetal.machine.board import Board, supply

__all__ = ["GIC_VERSIONS"]

GIC_VERSIONS = {"2": 8, "3": 123}
"""How many CPUs each can have: what a GICv2 has room for, and how many redistributors of a GICv3
fit into their place."""

MMIO = tuple(MMIO_VERSIONS)

supply(
    Board(
        "arm-virt",
        isa="aarch64",
        max_cpus=max(GIC_VERSIONS.values()),
        place="bimetal.boards.arm_virt:arm_virt",
        options={
            "virtualization": ("off", "on"),
            "gic": tuple(GIC_VERSIONS),
            "acpi": ("on", "off"),
            "bus": BUS,
            "ports": PORTS,
            "virtio-mmio": MMIO,
        },
        cpus_with={"gic": GIC_VERSIONS},
    ),
    Board("microvm", isa="x86_64", max_cpus=240, place="bimetal.boards.microvm:microvm"),
    Board(
        "riscv-virt",
        isa="riscv64",
        max_cpus=64,
        place="bimetal.boards.riscv_virt:riscv_virt",
        options={"bus": BUS, "ports": PORTS, "virtio-mmio": MMIO, "aia": AIA},
    ),
)
