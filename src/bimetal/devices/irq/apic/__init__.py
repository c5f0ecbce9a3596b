"""Intel's advanced programmable interrupt controllers: local APICs (SDM volume 3, "Advanced
Programmable Interrupt Controller") and the I/O APIC (82093AA)."""
