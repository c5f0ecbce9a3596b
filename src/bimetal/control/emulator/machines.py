"""Options for the machine itself: its kind, processors, memory, accelerator."""

from __future__ import annotations

from bimetal.base.near import choose_from
from bimetal.base.sizes import MIB
from bimetal.control.emulator.grammar import Words, read_words, wrong
from bimetal.control.emulator.lookups import HELP, list_machines, list_models, list_options
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.targets import NO_MACHINE, MachineKind

__all__ = [
    "read_accel",
    "read_cpu",
    "read_enable_kvm",
    "read_m",
    "read_machine",
    "read_no_acpi",
    "read_smp",
]

ACCELERATORS = {"tcg": "jit", "kvm": "kvm"}
"""What QEMU calls accelerators, and what stands for them here."""


def read_machine(order: Order, option: str, value: str) -> None:
    """The kind of machine, and options of it."""
    words = read_words(option, value, "type")
    name = words.text("type")
    if name in HELP:
        list_machines(order.target)
    if any(words.peek(each) for each in HELP):
        list_options(f"{name}-machine options", _machine_options(order.target.machine(name)))
    if name == NO_MACHINE:
        order.nothing = True
        words.ignore("accel")
        words.finish()
        return
    if name:
        order.kind = order.target.machine(name)
    if "accel" in words:
        _choose_accelerator(order, option, words.text("accel"))
    kind = order.kind or order.target.machines[0]
    _read_options(order, option, words, kind)
    words.finish()


def _machine_options(kind: MachineKind) -> list[str]:
    chosen = [f"{name}=<str>" for name in kind.options]
    return sorted([*chosen, *(f"{name}={only}" for name, only in kind.pins.items())])


def _read_options(order: Order, option: str, words: Words, kind: MachineKind) -> None:
    for name, board_option in kind.options.items():
        if name in words:
            order.board_options[board_option] = words.text(name)
    for name, only in kind.pins.items():
        words.only(name, only)
    order.memory_backend = words.text("memory-backend", order.memory_backend)
    flash = [words.text(name) for name in ("pflash0", "pflash1") if name in words]
    if flash:
        order.flash_nodes = tuple(flash)
    order.usb = words.switch("usb", order.usb)
    words.only("smm", "off")
    # A core file of the process, merged pages and a picture of it change nothing for a guest.
    words.ignore("dump-guest-core", "mem-merge", "graphics", "hpet", "vmport")


def read_cpu(order: Order, option: str, value: str) -> None:
    """The processor model, and its features."""
    if value in HELP:
        list_models(order.target)
    name, comma, features = value.partition(",")
    model = order.target.models.get(name)
    if model is None:
        raise wrong(
            option, f"there is no model {name[:80]!r}", choose_from(name[:80], order.target.models)
        )
    changed = []
    for feature in features.split(",") if comma else ():
        changed.append(_feature(option, feature, order.target.adds))
    order.machine["cpu_model"] = ",".join([model, *filter(None, changed)])


def _feature(option: str, feature: str, adds: bool) -> str:
    """A feature as our models take it: those that are there can be left out, and others be there
    too, if the target ``adds`` them."""
    name, equals, value = feature.partition("=")
    if feature.startswith("-") or (equals and value in ("off", "false", "no")):
        return f"-{name.removeprefix('-')}"
    if adds and (not equals or value in ("on", "true", "yes")):
        return f"+{name.removeprefix('+')}"
    raise wrong(
        option,
        f"{feature[:80]!r} is not there: a model has the features that it has",
        f"leave one away by {name.removeprefix('+')[:40]}=off",
    )


def read_smp(order: Order, option: str, value: str) -> None:
    """How many CPUs. What they are packed into is told to no guest, so only the count matters; more
    CPUs than there are at first are not there."""
    words = read_words(option, value, "cpus")
    sizes = [
        words.number(name, 1, 1, 1 << 16)
        for name in ("sockets", "dies", "clusters", "cores", "threads")
    ]
    product = 1
    for size in sizes:
        product *= size
    cpus = words.number("cpus", product, 1, 1 << 16)
    most = words.number("maxcpus", cpus, 1, 1 << 16)
    words.finish()
    if most != cpus:
        raise wrong(option, f"maxcpus={most}: CPUs cannot be plugged in", f"write maxcpus={cpus}")
    if product not in (1, cpus):
        raise wrong(option, f"{product} places for {cpus} CPUs", "make the product their number")
    order.machine["cpus"] = cpus


def read_m(order: Order, option: str, value: str) -> None:
    """How much memory."""
    words = read_words(option, value, "size")
    size = words.size("size", MIB)
    if size is None:
        raise wrong(option, "there is no size", "write -m 512M")
    for name in ("slots", "maxmem"):
        if name in words:
            raise wrong(option, f"{name}: memory cannot be plugged in", "leave it away")
    words.finish()
    order.machine["memory"] = size


def read_accel(order: Order, option: str, value: str) -> None:
    """The accelerator. How it works inside (``thread``, ``tb-size``) is up to it."""
    words = read_words(option, value, "accel")
    name = words.needed("accel")
    if name in HELP:
        list_options("Accelerators supported", ACCELERATORS)
    _choose_accelerator(order, option, name)
    words.only("thread", "multi")
    words.ignore("tb-size", "kernel-irqchip")
    words.finish()


def read_enable_kvm(order: Order, option: str, value: str) -> None:
    """KVM."""
    order.machine["accel"] = "kvm"


def read_no_acpi(order: Order, option: str, value: str) -> None:
    """No ACPI tables, on boards that have them."""
    order.acpi = False


def _choose_accelerator(order: Order, option: str, text: str) -> None:
    """The first accelerator of a list, or, if there are several, the best of them."""
    names = text.split(":")
    for name in names:
        if name not in ACCELERATORS:
            raise wrong(
                option, f"there is no accelerator {name[:80]!r}", choose_from(name, ACCELERATORS)
            )
    order.machine["accel"] = "auto" if len(set(names)) > 1 else ACCELERATORS[names[0]]
