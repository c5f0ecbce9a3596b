"""Choosing the accelerator for a machine: KVM where it works, otherwise one of our own.

``auto`` takes KVM if the guest's instruction set is the host's and KVM really works here. To find
out, it creates a machine and a vCPU and runs some instructions of a kernel; the processor's flags
would say no on hosts where KVM works, and yes on some where it does not. ``kvm`` takes KVM even
where it can run no kernels.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from msgspec import Struct

from bimetal.accel.switching import QUICK_SWITCHING
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.log import logger
from bimetal.base.near import choose_from
from bimetal.isa.names import INSTRUCTION_SETS, UNFINISHED, architecture
from bimetal.seam import Accelerator

__all__ = [
    "CHOICES",
    "ENGINES",
    "Described",
    "accelerators",
    "check_model",
    "check_name",
    "create",
    "described",
    "handover",
    "has_semihosting",
    "models",
    "prepare",
]

Factory = Callable[..., Accelerator]

KVM: Final = "bimetal.accel.kvm.host:create"
KVM_CHECK: Final = "bimetal.accel.kvm.examine:check_kernels"
KVM_MODELS: Final = "bimetal.accel.kvm.host:models"
KVM_MODEL: Final = "bimetal.accel.kvm.host:check_model"
KVM_CONTROLS: Final = "bimetal.accel.kvm.host:stands_in"
KVM_HANDOVER: Final = "bimetal.accel.kvm.host:handover"

ENGINES: dict[str, str] = {
    "jit": "bimetal.accel.jit:JitAccelerator",
    "interp": "bimetal.accel.interp:InterpAccelerator",
}
"""Accelerators that need nothing from the host, best first, each as ``module:name`` of its class.
They run every instruction set that is described, and are called with its name and the keywords of
`create`."""

PREPARE: Final = "bimetal.codegen.interpreter:prepare"

CHOICES = ("auto", "kvm", *ENGINES)


def create(
    accel: str,
    isa: str,
    *,
    clock: Clock,
    firmware_calls: bool,
    cpus: int,
    model: str = "",
    hypervisor: bool = False,
    controller: bool = False,
    background: bool = True,
) -> Accelerator:
    """The accelerator called ``accel`` for a machine of ``cpus`` CPUs of ``isa``.

    ``isa`` is a name like those of `platform.machine`. ``firmware_calls`` asks for calls to
    firmware (SBI, PSCI) as exits, and ``model`` names a processor for accelerators that offer
    several. With ``hypervisor`` CPUs have a hypervisor mode (EL2) and start in it; with
    ``controller`` the board implements the registers of the CPUs' interrupt controllers, and
    accesses to them are exits. With ``background``, code that was hot at the end but not translated
    in time is translated in the background for the next run.

    Raises `BimetalError` if ``accel`` cannot run such a machine here.
    """
    options: dict[str, object] = {
        "clock": clock,
        "firmware_calls": firmware_calls,
        "cpus": cpus,
        "hypervisor": hypervisor,
        "controller": controller,
        "background": background,
    }
    check_name(accel)
    if accel == "auto":
        return _best(isa, model, options)
    if accel == "kvm":
        return _kvm(isa, model, options)
    return _engine(accel, isa, model, options)


def prepare(accel: str, isa: str, cpus: int) -> None:
    """Load what `create` is going to need, as far as that is certain: for another thread, while a
    machine is put together. Errors are left to `create`, which meets them again."""
    if accel == "auto":
        accel = "" if isa == platform.machine() else next(iter(_engines_of(isa)), "")
    if accel in ENGINES and isa in INSTRUCTION_SETS:
        with QUICK_SWITCHING.wanted(), suppress(Exception):
            late(PREPARE)(architecture(isa).isa, cpus > 1)


def models(accel: str, isa: str) -> tuple[str, ...]:
    """The processor models of ``isa`` that ``accel`` offers here, the default one first.

    Raises `BimetalError` if ``accel`` cannot run such guests here.
    """
    check_name(accel)
    if accel == "kvm" or (accel == "auto" and isa == platform.machine()):
        _check_host(isa)
        return cast(Callable[[str], tuple[str, ...]], late(KVM_MODELS))(isa)
    _check_engine(accel, isa)
    return architecture(isa).models


def accelerators(isa: str) -> dict[str, str]:
    """What runs guests of ``isa`` here, by name, the best first: "" for what may be chosen by
    itself, and for others a text that says why not, or that they do not run them."""
    found = dict.fromkeys(ENGINES, "not finished: only where it is named" * (isa in UNFINISHED))
    if isa not in INSTRUCTION_SETS:
        found = dict.fromkeys(ENGINES, f"it does not run {isa} guests")
    try:
        _check_host(isa)
        late(KVM_CHECK)(isa)
    except BimetalError as error:
        return {**found, "kvm": error.cause}
    return {"kvm": "", **found}


def check_model(accel: str, isa: str, model: str) -> None:
    """Raise `BimetalError` for a processor ``model`` that ``accel`` has not, whatever the host is;
    that it has not been named ("") is right everywhere."""
    engine = accel if accel in ENGINES else next(iter(_engines_of(isa)), "")
    if not model:
        return
    if isa != platform.machine() or accel in ENGINES:
        if engine and isa in INSTRUCTION_SETS:
            _check_model(engine, isa, model)
        return
    try:
        late(KVM_MODEL)(isa, model)
    except BimetalError:
        if accel == "kvm" or not engine:
            raise
        _check_model(engine, isa, model)


class Described(Struct, frozen=True):
    """What boards are told of their processors: the bits of physical addresses, 64 where the host
    decides on that, the extensions that a device tree lists, if any, words for the command line
    of Linux (`Architecture.linux`), and the bits of general registers."""

    physical_bits: int = 64
    extensions: tuple[str, ...] = ()
    linux: str = ""
    bits: int = 64


def described(accel: str, isa: str, model: str) -> Described:
    """What is described of a processor ``model`` of ``isa``. Raises `BimetalError` for a model that
    ``accel`` has not."""
    if isa not in INSTRUCTION_SETS or (accel == "auto" and not _engines_of(isa)):
        return Described()
    known = architecture(isa)
    if accel not in CHOICES or accel == "kvm" or (accel == "auto" and isa == platform.machine()):
        return Described(extensions=known.extensions)
    _check_model(_engines_of(isa)[0] if accel == "auto" else accel, isa, model)
    model = model or known.models[0]
    processor = known.processor(model)
    extensions = tuple(each for each in known.extensions if each not in processor.lacks)
    return Described(processor.physical_bits, extensions, known.linux(model), processor.bits)


def handover(isa: str) -> Any:
    """The module by which machines of ``isa`` change from our own accelerators to KVM, and back:
    with ``announced``, ``is_common``, ``for_kernel`` and ``for_engines``. None if there is none."""
    return late(KVM_HANDOVER)(isa)


def has_semihosting(isa: str) -> bool:
    """Whether programs of ``isa`` can make semihosting calls under our own accelerators."""
    return isa in INSTRUCTION_SETS and bool(architecture(isa).semihosting)


def check_name(accel: str) -> None:
    """Raise `BimetalError`, listing the known names, if ``accel`` is not one of them."""
    if accel not in CHOICES:
        raise BimetalError(
            f"there is no accelerator {accel!r}",
            choose_from(accel, CHOICES),
            ExitCode.USAGE,
        )


def _best(isa: str, model: str, options: dict[str, object]) -> Accelerator:
    reason: BimetalError | None = None
    if isa == platform.machine():
        try:
            late(KVM_CHECK)(isa)
            return _kvm(isa, model, options)
        except BimetalError as error:
            if not _engines_of(isa):
                error.remedy = _or_unfinished(error.remedy, isa)
                raise
            reason = error
    _check_engine("auto", isa)
    engine = _engines_of(isa)[0]
    if reason is not None:
        logger("accel").warning("%s instead of kvm: %s", engine, reason)
    return _engine(engine, isa, model, options)


def _or_unfinished(remedy: str, isa: str) -> str:
    """A remedy that also names an accelerator of ours that is not chosen by itself."""
    if isa not in UNFINISHED:
        return remedy
    ours = f"try --accel {next(iter(ENGINES))}, under which programs of {isa} may still go wrong"
    return f"{remedy}; or {ours}" if remedy else ours


def _engines_of(isa: str) -> list[str]:
    """Our own accelerators that are chosen for ``isa`` by themselves."""
    return list(ENGINES) if isa in INSTRUCTION_SETS and isa not in UNFINISHED else []


def _kvm(isa: str, model: str, options: dict[str, object]) -> Accelerator:
    _check_host(isa)
    engines = ", ".join(_engines_of(isa)) or "others"
    for asked, cause, remedy in (
        ("hypervisor", "KVM gives no CPU the mode of hypervisors", "leave virtualization away"),
        (
            "controller",
            "KVM has such an interrupt controller's registers itself",
            "choose another one",
        ),
    ):
        if options[asked] and not (asked == "controller" and late(KVM_CONTROLS)(isa)):
            remedy = f"{remedy}, or an accelerator from {engines}"
            raise BimetalError(cause, remedy, ExitCode.UNAVAILABLE)
    made = late(KVM)(isa, cpus=cast(int, options["cpus"]), model=model or "host")
    return cast(Accelerator, made)


def _check_host(isa: str) -> None:
    if isa != platform.machine():
        raise BimetalError(
            f"KVM runs {platform.machine()} guests on this host, not {isa}",
            f"choose from {', '.join(['auto', *_engines_of(isa)])}",
            ExitCode.UNAVAILABLE,
        )


def _engine(name: str, isa: str, model: str, options: dict[str, object]) -> Accelerator:
    _check_engine(name, isa)
    _check_model(name, isa, model)
    if isa in UNFINISHED:
        logger("accel").warning("%s is not finished under %s: programs may go wrong", isa, name)
    return cast(Accelerator, late(ENGINES[name])(isa, model=model, **options))


def _check_model(name: str, isa: str, model: str) -> None:
    described = architecture(isa)
    known, base = described.models, model.partition(",")[0]
    if not model or model in known:
        return
    if base in known:
        described.processor(model)
        return
    if base in described.absent:
        raise BimetalError(
            f"the accelerator {name} has no processor model {base}: {described.absent[base]}",
            f"choose from {', '.join(known)}",
            ExitCode.UNAVAILABLE,
        )
    raise BimetalError(
        f"the accelerator {name} has no processor model {model!r}",
        choose_from(model, known),
        ExitCode.USAGE,
    )


def _check_engine(name: str, isa: str) -> None:
    if name == "auto" and not _engines_of(isa):
        raise BimetalError(
            f"nothing here runs {isa} guests: KVM would need a {isa} host",
            "choose another board",
            ExitCode.UNAVAILABLE,
        )
    if name != "auto" and isa not in INSTRUCTION_SETS:
        raise BimetalError(
            f"the accelerator {name} does not run {isa} guests",
            "choose 'kvm' on a host of that kind",
            ExitCode.UNAVAILABLE,
        )
