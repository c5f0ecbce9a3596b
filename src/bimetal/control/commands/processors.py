"""Commands about processors: what models have, what is counted, and what boards cannot do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from bimetal.base.errors import ExitCode
from bimetal.base.late import late
from bimetal.base.near import choose_from
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["expand_model", "inject_nmi", "query_hotpluggable_cpus"]


class CpuModel(Answer, forbid_unknown_fields=True):
    """A processor model, with what is other than usual."""

    name: Annotated[str, "its name"]
    props: Annotated[dict[str, Any], "features that it has, or has not"] = {}


class Expansion(Answer):
    """A model with what it has."""

    model: Annotated[CpuModel, "the model, with its features"]


@MACHINE.command("query-cpu-model-expansion")
def expand_model(
    vm: Managed,
    type: Annotated[Literal["full", "static"], "how much is told: full alone is there"],
    model: Annotated[CpuModel, "the model"],
) -> Expansion:
    """List the features of a processor model that can be left away, or added
    (``-cpu MODEL,FEATURE=off``)."""
    if type != "full":
        raise _unsupported("The requested expansion type is not supported", "ask for full")
    target = vm.target
    models = {} if target is None else target.models
    if model.name not in models:
        raise _unsupported(
            f"The CPU type '{model.name[:80]}' is not a recognized CPU type",
            choose_from(model.name[:80], models) if models else "ask an emulator",
        )
    assert target is not None
    place = target.features.get(model.name)
    names: Any = late(place) if place else ()
    features: dict[str, bool] = names(model.name) if callable(names) else dict.fromkeys(names, True)
    for name, value in model.props.items():
        if name not in features or not isinstance(value, bool):
            raise _unsupported(
                f"Property '{target.type_of(model.name)}.{name[:80]}' not found",
                "leave it away",
            )
        features[name] = value
    return Expansion(model=CpuModel(name=model.name, props=features))


@MACHINE.command("query-hotpluggable-cpus")
def query_hotpluggable_cpus(vm: Managed) -> None:
    """Refused: no board has places for CPUs that come later."""
    raise _unsupported(
        "machine does not support hot-plugging CPUs", "start it with as many as it is to have"
    )


@MACHINE.command("inject-nmi")
def inject_nmi(vm: Managed) -> None:
    """Refused: no board has an interrupt that cannot be masked."""
    raise _unsupported("machine does not provide NMIs", "send-key alt-sysrq-..., or system_reset")


@MACHINE.command("query-stats")
def query_stats(
    vm: Managed,
    target: Annotated[Literal["vm", "vcpu", "cryptodev"], "what is counted"],
    vcpus: Annotated[dict[str, Any] | None, "of these CPUs alone"] = None,
    providers: Annotated[list[dict[str, Any]] | None, "of these who count alone"] = None,
) -> list[dict[str, Any]]:
    """List what KVM and others count in numbers of their own: nothing."""
    return []


@MACHINE.command("query-stats-schemas")
def query_stats_schemas(
    vm: Managed, provider: Annotated[str, "of this one who counts alone"] = ""
) -> list[dict[str, Any]]:
    """Describe what `query-stats` lists: nothing."""
    return []


def _unsupported(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.UNAVAILABLE)
