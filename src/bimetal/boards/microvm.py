"""The board ``microvm``: x86-64 without PCI and without firmware, for Linux kernels.

Ports                              Memory
020  PIC, another one at a0  *     00000000  RAM, up to 3 GiB
040  timer                         d0000000  virtio-mmio, 8 slots
060  i8042 (reset only),           d0100000  test finisher
     gate of the timer (61)        fec00000  I/O APIC    *
070  real-time clock               fee00000  local APICs *
3f8  serial port                   100000000 RAM, the rest
4d0  PICs: edges or levels *
600  power                         * the accelerator's, if it models them

Interrupts are global system interrupts: 0 the timer, 4 the serial port, 8 the clock, 16 to 23
virtio. The operating system learns all this from ACPI tables.
"""

from __future__ import annotations

from bimetal.boards.slots import virtio_devices
from bimetal.boards.x86_apics import add_apics
from bimetal.boards.x86_boot import HOLE, HOLE_END, X86Boot
from bimetal.devices.config.absent import Absent
from bimetal.devices.power.acpi import RESET, AcpiPower
from bimetal.devices.power.i8042 import I8042
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.cmos import CENTURY, CmosRtc
from bimetal.devices.serial.ns16550a import Ns16550a
from bimetal.devices.timer.pit import PORTS, Pit
from bimetal.devices.virtio.mmio import VirtioMmio
from bimetal.firmware.acpi import aml
from bimetal.firmware.acpi.devices import DEVICE_TREE_HID, AcpiDevice
from bimetal.firmware.acpi.x86 import Power
from bimetal.machine.chassis import Chassis

__all__ = ["microvm"]

SERIAL, SERIAL_PORTS, SERIAL_HZ, SERIAL_IRQ = 0x3F8, 8, 1_843_200, 4
CLOCK, CLOCK_IRQ = 0x70, 8
TIMER, TIMER_IRQ = 0x40, 0
KEYBOARD = 0x60
POWER = 0x600
LOOKED_FOR = {0x2E: 2, 0x4E: 2, 0x87: 1, 0x2E8: 8, 0x2F8: 8, 0x3E8: 8, 0xCF8: 8}
"""Where Linux looks for what a PC may have, and how many ports: Super-I/O chips, a DMA controller,
further serial ports, PCI."""
VIRTIO, VIRTIO_STRIDE, VIRTIO_IRQ, VIRTIO_SLOTS = 0xD000_0000, 0x1000, 16, 8
FINISHER = 0xD010_0000


def microvm(m: Chassis) -> None:
    """x86-64 CPUs with a serial port, a clock, and eight virtio slots."""
    m.ram(at=0, size=min(m.config.memory, HOLE))
    if m.config.memory > HOLE:
        m.ram(at=HOLE_END, size=m.config.memory - HOLE, name="high-ram")
    apics = add_apics(m)
    timer = m.add_port(Pit(m.clock), port=TIMER, size=PORTS, irq=m.irq(TIMER_IRQ))
    m.add_port(I8042(timer), port=KEYBOARD, power=m.power)
    m.add_port(CmosRtc(m.clock), port=CLOCK, irq=m.irq(CLOCK_IRQ), changed=m.rtc)
    serial = Ns16550a(m.console, m.clock, SERIAL_HZ)
    m.add_port(serial, port=SERIAL, size=SERIAL_PORTS, irq=m.irq(SERIAL_IRQ))
    m.add_port(AcpiPower(), port=POWER, power=m.power)
    for port, count in LOOKED_FOR.items():
        m.add_port(Absent(), port=port, size=count)
    for number, device in enumerate(virtio_devices(m, VIRTIO_SLOTS)):
        slot = VirtioMmio(device, m.space, m.defer)
        m.add(slot, at=VIRTIO + VIRTIO_STRIDE * number, irq=m.irq(VIRTIO_IRQ + number))
    m.add(SifiveTest(), at=FINISHER, power=m.power)
    power = Power(POWER, POWER + 1, POWER + 2, RESET)
    m.start_with(X86Boot(m, power, acpi_devices(), CENTURY, apics))


def acpi_devices() -> list[AcpiDevice]:
    """What ACPI tells of the devices that no other table names."""
    serial = (aml.io_ports(SERIAL, SERIAL_PORTS), aml.irq(SERIAL_IRQ))
    clock = (aml.io_ports(CLOCK, 2), aml.irq(CLOCK_IRQ))
    finisher = (aml.memory32(FINISHER, SifiveTest.mmio_size),)
    return [
        AcpiDevice("COM1", "PNP0501", 1, serial),
        AcpiDevice("RTC0", "PNP0B00", 0, clock),
        AcpiDevice("TEST", DEVICE_TREE_HID, 0, finisher, SifiveTest.compatible[0]),
        *(
            AcpiDevice(
                f"VR{number:02}",
                "LNRO0005",
                number,
                (
                    aml.memory32(VIRTIO + VIRTIO_STRIDE * number, VirtioMmio.mmio_size),
                    aml.extended_interrupt(VIRTIO_IRQ + number),
                ),
            )
            for number in range(VIRTIO_SLOTS)
        ),
    ]
