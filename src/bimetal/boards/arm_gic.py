"""The interrupt controllers that the board ``arm-virt`` can have, where QEMU's ``virt`` has them.

GICv2: distributor, CPU interfaces, and a frame for messages. GICv3: distributor, an interrupt
translation service, and two frames a CPU, of its redistributor.
"""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards import GIC_VERSIONS
from bimetal.boards.arm_cpus import affinity
from bimetal.boards.arm_lines import FIQ, IRQ, OUTPUT_PPIS
from bimetal.boards.arm_tree import LEVEL, Controller
from bimetal.devices.irq.gic.v2_cpu import Gicv2CpuInterface
from bimetal.devices.irq.gic.v2_distributor import Gicv2Distributor
from bimetal.devices.irq.gic.v2m import Gicv2m
from bimetal.devices.irq.gic.v3_cpu import Gicv3CpuInterface
from bimetal.devices.irq.gic.v3_distributor import Gicv3Distributor
from bimetal.devices.irq.gic.v3_its import Gicv3Its
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor
from bimetal.firmware.acpi.gic import Gic as GicPlaces
from bimetal.firmware.acpi.gic import MessageFrame
from bimetal.machine.chassis import Chassis

__all__ = ["FRAME", "REDISTRIBUTORS_SIZE", "Gic", "add_gic"]

SPIS = 256
DISTRIBUTOR = 0x800_0000
FRAME = 0x1_0000

CPU_INTERFACE, MESSAGES = 0x801_0000, 0x802_0000
FIRST_MESSAGE, MESSAGE_COUNT = 48, 64
"""SPIs, counted from 0, that messages raise."""

TRANSLATION, REDISTRIBUTORS = 0x808_0000, 0x80A_0000
REDISTRIBUTORS_SIZE = 0xF6_0000

Gic = Gicv2Distributor | Gicv3Distributor


def add_gic(m: Chassis) -> tuple[Gic, Controller]:
    """The controller that the board's option ``gic`` names; what the device tree says of it."""
    version = m.config.options.get("gic", next(iter(GIC_VERSIONS)))
    if m.config.cpus > GIC_VERSIONS[version]:
        raise BimetalError(
            f"{m.config.cpus} CPUs are too many for a GICv{version}",
            f"give it 1 to {GIC_VERSIONS[version]}, or choose the board's option gic=3",
            ExitCode.USAGE,
        )
    return _gicv2(m) if version == "2" else _gicv3(m)


def _gicv2(m: Chassis) -> tuple[Gicv2Distributor, Controller]:
    cpus = range(m.config.cpus)
    gic = m.add(Gicv2Distributor(len(cpus), SPIS, m.initiator), at=DISTRIBUTOR)
    m.add(
        Gicv2CpuInterface(gic),
        at=CPU_INTERFACE,
        irq=[m.line(cpu, IRQ) for cpu in cpus],
        fiq=[m.line(cpu, FIQ) for cpu in cpus],
    )
    first = 32 + FIRST_MESSAGE
    messages = m.add(
        Gicv2m(first, MESSAGE_COUNT),
        at=MESSAGES,
        spis=[gic[first + number] for number in range(MESSAGE_COUNT)],
    )
    for cpu in cpus:
        for output, interrupt in enumerate(OUTPUT_PPIS):
            m.wire_output(cpu, output, gic.private(cpu, interrupt))
    everybody = (1 << len(cpus)) - 1
    return gic, Controller(
        "arm,cortex-a15-gic",
        (DISTRIBUTOR, FRAME, CPU_INTERFACE, FRAME),
        (messages,),
        GicPlaces(2, DISTRIBUTOR, CPU_INTERFACE, (MessageFrame(MESSAGES, first, MESSAGE_COUNT),)),
        flags=everybody << 8 | LEVEL,
    )


def _gicv3(m: Chassis) -> tuple[Gicv3Distributor, Controller]:
    cpus = range(m.config.cpus)
    privates = [Gicv3Private(cpu, affinity(cpu)) for cpu in cpus]
    gic = m.add(Gicv3Distributor(privates, SPIS, lpis=True), at=DISTRIBUTOR)
    redistributors = []
    for cpu, private in enumerate(privates):
        at = REDISTRIBUTORS + 2 * cpu * FRAME
        redistributor = Gicv3Redistributor(private, m.space, last=cpu == cpus[-1], lpis=True)
        redistributors.append(m.add(redistributor, at=at))
        m.add(private, at=at + FRAME)
        m.add_registers(
            Gicv3CpuInterface(private), cpu=cpu, irq=m.line(cpu, IRQ), fiq=m.line(cpu, FIQ)
        )
        for output, interrupt in enumerate(OUTPUT_PPIS):
            m.wire_output(cpu, output, private.input(interrupt))
    translation = m.add(Gicv3Its(redistributors, m.space, m.defer), at=TRANSLATION)
    return gic, Controller(
        "arm,gic-v3",
        (DISTRIBUTOR, FRAME, REDISTRIBUTORS, REDISTRIBUTORS_SIZE),
        (translation,),
        GicPlaces(
            3,
            DISTRIBUTOR,
            redistributors=REDISTRIBUTORS,
            redistributors_size=REDISTRIBUTORS_SIZE,
            translation=TRANSLATION,
        ),
        properties=(("#redistributor-regions", 1),),
    )
