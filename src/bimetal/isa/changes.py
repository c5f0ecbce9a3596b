"""Processor models with features taken away: ``max,-lse``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..base.errors import BimetalError, ExitCode

__all__ = ["taken_away", "unchangeable"]


def unchangeable(model: str, features: Collection[str]) -> BimetalError:
    """The error for a model with features that cannot be, of those that there are."""
    name, _, change = model.partition(",")
    return BimetalError(
        f"the processor model {name} cannot be changed by {change!r}",
        f"take away features of it, each with a '-': {', '.join(sorted(features))}"
        if features
        else "leave that away: it has the features that are described, and no others",
        ExitCode.USAGE,
    )


def taken_away(
    model: str,
    base: str,
    features: Collection[str],
    lacks: Collection[str],
    built_on: Mapping[str, Collection[str]],
) -> frozenset[str]:
    """The features that ``model`` takes away from the model ``base``, with those that are
    ``built_on`` them: ``base,-x,+y``, where ``+`` says that a feature stays.

    ``features`` are all that models may lack, ``lacks`` those that ``base`` lacks. Raises
    `BimetalError` for other changes.
    """
    changes = [word.strip() for word in model.removeprefix(f"{base},").split(",")]
    if any(change[:1] not in ("+", "-") or change[1:] not in features for change in changes):
        raise unchangeable(model, set(features) - set(lacks))
    taken, kept = ({word[1:] for word in changes if word[0] == sign} for sign in "-+")
    if missing := kept & set(lacks):
        raise BimetalError(
            f"the processor model {base} has no {', '.join(sorted(missing))}",
            "leave that away, or choose a model that has it (--cpu help)",
            ExitCode.USAGE,
        )
    going = list(taken)
    for feature in going:  # which grows
        going += [other for other in built_on.get(feature, ()) if other not in going]
    if both := kept.intersection(going):
        raise BimetalError(
            f"a processor cannot have {', '.join(sorted(both))} and have it not",
            "say one of them",
            ExitCode.USAGE,
        )
    return frozenset(going)
