"""Devices: registers, named outputs, a clock and back ends; nothing else reaches them."""
