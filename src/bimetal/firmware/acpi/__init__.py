"""ACPI tables, which tell operating systems what a device tree says elsewhere."""
