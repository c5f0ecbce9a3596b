"""Delivering a trap by the ISA's routine, which may fault itself."""

from __future__ import annotations

from .builder import TRAPPED
from .emit import USUALLY
from .flow import StubLowering

__all__ = ["deliver"]


def deliver(g: StubLowering, cause: str, value: str) -> str:
    """Lower the delivery of a trap; the operand for the guest handler's address.

    If delivery itself faults, as when a frame cannot be pushed, that fault is delivered instead.
    """
    if "fault_in_delivery" not in g.layout.isa.routines:
        return g.call("rt_take_trap", 64, [("i64", cause), ("i64", value)])
    first, found = g.fresh("cause"), g.fresh("value")
    g.allocas += [f"  {first} = alloca i64", f"  {found} = alloca i64"]
    g.put(f"store i64 {cause}, ptr {first}")
    g.put(f"store i64 {value}, ptr {found}")
    again, failed, nested = g.fresh("deliver"), g.fresh("failed"), g.fresh("nested")
    left, delivered = g.fresh("left"), g.fresh("delivered")
    g.end(f"br label {again}")
    g.label(again)
    g.store_state("delivering", "1", "i8")
    cause = g.let(f"load i64, ptr {first}")
    arguments = [("i64", cause), ("i64", g.let(f"load i64, ptr {found}"))]
    handler = g.call("rt_take_trap", 64, arguments)
    g.store_state("delivering", "0", "i8")
    pending = g.load_state("pending")
    g.branch(g.let(f"icmp eq i64 {pending}, 0"), delivered, failed, USUALLY)
    g.label(failed)
    g.branch(g.let(f"icmp eq i64 {pending}, {TRAPPED}"), nested, left)
    g.label(nested)
    g.store_state("pending", "0")
    raised = g.load_state("trap_cause")
    g.put(f"store i64 {g.load_state('trap_value')}, ptr {found}")
    instead = g.call("rt_fault_in_delivery", 64, [("i64", cause), ("i64", raised)])
    g.put(f"store i64 {instead}, ptr {first}")
    g.branch(g.let(f"icmp eq i64 {g.load_state('pending')}, 0"), again, left)
    g.label(left)
    g.tail("@pending")
    g.label(delivered)
    return handler
