"""ACPI tables, by which operating systems learn what a device tree tells elsewhere."""
