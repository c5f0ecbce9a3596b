"""Timers and the interrupts between CPUs."""
