"""Commands by which clients learn what an emulator has: types, properties, machines, processors.

libvirt asks all this once of each emulator, before it starts a machine with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import UNSET, UnsetType

from bimetal.base.errors import ExitCode
from bimetal.base.late import late
from bimetal.control.commands.looking import query_kvm
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.emulator.drivers import DRIVERS, TRANSLATOR, properties_of, types_of
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["list_types"]


class TypeInfo(Answer):
    """A type of objects."""

    name: Annotated[str, "its name"]
    parent: Annotated[str | UnsetType, "what it is a kind of"] = UNSET


class PropertyInfo(Answer):
    """A property that objects of a type have."""

    name: Annotated[str, "its name"]
    type: Annotated[str, "the type of its values"]


class MachineInfo(Answer):
    """A kind of machine."""

    name: Annotated[str, "its name"]
    cpu_max: Annotated[int, "how many CPUs it may have"]
    alias: Annotated[str | UnsetType, "another name for it"] = UNSET
    hotpluggable_cpus: Annotated[bool, "always false"] = False
    numa_mem_supported: Annotated[bool, "always false"] = False
    deprecated: Annotated[bool, "always false"] = False


class ProcessorInfo(Answer):
    """A processor model."""

    name: Annotated[str, "its name"]
    typename: Annotated[str, "its type"]
    static: Annotated[bool, "whether it always means the same"] = False
    migration_safe: Annotated[bool, "whether it always has the same features"] = True
    unavailable_features: Annotated[tuple[str, ...], "what it needs and is not in use"] = ()
    deprecated: Annotated[bool, "always false"] = False


class OptionParameter(Answer):
    """A word that an option of the command line takes."""

    name: Annotated[str, "its name"]
    type: Annotated[str, "string, number, boolean or size"]


class OptionInfo(Answer):
    """An option of the command line."""

    option: Annotated[str, "its name"]
    parameters: Annotated[list[OptionParameter], "what may stand behind it"] = []


class GicInfo(Answer):
    """An interrupt controller that machines may have."""

    version: Annotated[int, "of its architecture"]
    emulated: Annotated[bool, "whether it is there without KVM"]
    kernel: Annotated[bool, "whether it is there with KVM"]


@MACHINE.command("qom-list-types")
def list_types(
    vm: Managed,
    implements: Annotated[str, "only those that are of this kind"] = "",
    abstract: Annotated[bool, "accepted: none of those that are listed is abstract"] = False,
) -> list[TypeInfo]:
    """List the types of devices and objects that there are."""
    found = dict(_types(vm))
    return [
        TypeInfo(name=name, parent=parent)
        for name, parent in found.items()
        if not implements or implements in (name, parent)
    ]


@MACHINE.command("device-list-properties")
def device_list_properties(
    vm: Managed, typename: Annotated[str, "a type of device"]
) -> list[PropertyInfo]:
    """List the properties of a type of device. DeviceNotFound if there is none."""
    if typename not in DRIVERS or typename not in dict(_types(vm)):
        raise _absent(typename)
    return _properties(typename)


@MACHINE.command("qom-list-properties")
def list_properties(
    vm: Managed, typename: Annotated[str, "a type of object"]
) -> list[PropertyInfo]:
    """List the properties of a type. DeviceNotFound if there is none."""
    own: list[str] = []
    if vm.target is not None:
        own += [kind.type_name for kind in vm.target.machines]
        own += [vm.target.type_of(model) for model in vm.target.models]
    if typename in own:
        return [PropertyInfo(name="type", type="string")]
    if properties_of(typename) is None:
        raise _absent(typename)
    return _properties(typename)


@MACHINE.command("query-machines")
def query_machines(vm: Managed) -> list[MachineInfo]:
    """List the kinds of machines that have this instruction set."""
    if vm.target is not None:
        return [
            MachineInfo(
                name=kind.name,
                alias=kind.alias if kind.alias != kind.name else UNSET,
                cpu_max=kind.cpu_max,
            )
            for kind in vm.target.machines
        ]
    return [
        MachineInfo(name=board.name, cpu_max=board.max_cpus)
        for board in late("bimetal.control.known_boards:boards")()
        if board.isa == vm.isa
    ]


@MACHINE.command("query-cpu-definitions")
def query_cpu_definitions(vm: Managed) -> list[ProcessorInfo]:
    """List the processor models of the emulator; those that KVM alone has lack ``kvm`` where it is
    not in use."""
    if vm.target is None:
        return []
    lacking = () if query_kvm(vm).enabled else vm.target.by_kvm
    return [
        ProcessorInfo(
            name=name,
            typename=vm.target.type_of(name),
            unavailable_features=("kvm",) if name in lacking else (),
        )
        for name in vm.target.models
    ]


@MACHINE.command("query-command-line-options")
def query_command_line_options(
    vm: Managed, option: Annotated[str, "this one alone"] = ""
) -> list[OptionInfo]:
    """List the options of the emulator's command line, but for what this host cannot do. What may
    stand behind them is not told."""
    names = late("bimetal.control.emulator.options:names_told")()
    return [OptionInfo(option=name) for name in names if option in ("", name)]


@MACHINE.command("query-gic-capabilities")
def query_gic_capabilities(vm: Managed) -> list[GicInfo]:
    """List the interrupt controllers that machines may have."""
    kinds = vm.target.machines if vm.target is not None else ()
    versions = sorted({version for kind in kinds for version in kind.controllers})
    return [GicInfo(version=version, emulated=True, kernel=False) for version in versions]


@MACHINE.command("query-tpm-models")
def query_tpm_models(vm: Managed) -> list[str]:
    """List the kinds of trusted platform modules: there are none."""
    return []


@MACHINE.command("query-tpm-types")
def query_tpm_types(vm: Managed) -> list[str]:
    """List what may be behind such a module: nothing."""
    return []


def _types(vm: Managed) -> Iterator[tuple[str, str]]:
    """The types, by name with what each is a kind of."""
    if vm.target is None:
        yield from types_of(True).items()
        return
    yield from types_of(any(kind.pci for kind in vm.target.machines)).items()
    yield TRANSLATOR, "accel"
    for kind in vm.target.machines:
        yield kind.type_name, "machine"
        yield from kind.parts.items()
    yield from ((vm.target.type_of(model), vm.target.suffix) for model in vm.target.models)


def _properties(typename: str) -> list[PropertyInfo]:
    found = properties_of(typename) or {}
    return [PropertyInfo(name=name, type=kind) for name, kind in found.items()]


def _absent(typename: str) -> CommandFailed:
    return CommandFailed(
        ErrorClass.DEVICE_NOT_FOUND,
        f"Device '{typename[:80]}' not found",
        "qom-list-types lists the types that there are",
        ExitCode.USAGE,
    )
