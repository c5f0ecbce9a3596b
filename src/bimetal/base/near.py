"""What somebody may have meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from bimetal.base.late import late

__all__ = ["choose_from", "did_you_mean"]

CUTOFF = 0.6
"""How much of a name has to be right, as `difflib` measures it."""
SHORTEST_PART = 3
"""Characters of which a name is told to be a part of another."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """``did you mean X or Y?`` with the nearest of ``known``, or nothing if none is near.

    Capitals do not count, and a part may stand for a name: ``Virt`` is near ``riscv-virt``. A name
    with one wrong letter is nearer still: ``eip`` is ``rip`` before it is part of another.
    """
    by_folded = {each.casefold(): each for each in known}
    folded = name.casefold()
    longer = [each for each in by_folded if len(folded) >= SHORTEST_PART and folded in each]
    mistyped = [each for each in by_folded if longer and _differ_by_one(each, folded)]
    near: list[str] = [*mistyped, *longer] or late("difflib:get_close_matches")(
        folded, by_folded, n=limit, cutoff=CUTOFF
    )
    if not near:
        return ""
    *others, last = [by_folded[each] for each in near[:limit]]
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def _differ_by_one(a: str, b: str) -> bool:
    return len(a) == len(b) and sum(one != other for one, other in zip(a, b, strict=True)) == 1


def choose_from(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is none of the few that are ``known``."""
    names = list(known)
    return f"{did_you_mean(name, names)} choose from {', '.join(names)}".strip()
