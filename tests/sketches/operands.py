"""Numbers at the edges of formats, for operations of two and three."""

from __future__ import annotations

import random
from itertools import product

from bimetal.ir.softfloat import Format

__all__ = ["almost_smallest", "edges", "tuples"]


def edges(form: Format) -> list[int]:
    """Zeros, subnormal numbers, the smallest and largest, ones, infinities, NaNs; both signs."""
    quiet, infinity, smallest = form.quiet, form.infinity, form.smallest
    magnitudes = [
        *(0, 1, 2, smallest >> 1, smallest - 1, smallest, smallest + 1),
        *(form.number(n) for n in (-1, 0, 1, 31, 63)),
        *(form.number(0) + 1, form.number(-1) - 1, form.number(31) - 1, form.number(0) | quiet),
        *(infinity - 1, infinity, infinity + 1, infinity | quiet, (infinity | quiet) + 5),
    ]
    return [number | sign for number in magnitudes for sign in (0, form.sign)]


def almost_smallest(form: Format) -> tuple[int, int]:
    """Two numbers whose product is below the smallest normal one, and is that when rounded, even
    if exponents had no bounds: tiny before rounding alone."""
    room = form.precision - 1
    step = 1 << (room - (form.precision // 2 + 2))
    return form.number(0) + step, form.smallest - step


def tuples(form: Format, count: int, most: int, seed: int) -> list[tuple[int, ...]]:
    """So many of all tuples of edges, with some other numbers among them, and `almost_smallest`."""
    rng = random.Random(seed)
    every = list(product(edges(form), repeat=count))
    some = rng.sample(every, most - 2)
    a, b = almost_smallest(form)
    return [
        (a, b, *[0] * (count - 2)),
        (a, *[0] * (count - 2), b),
        *(
            tuple(n if rng.random() < 0.9 else rng.getrandbits(form.width) for n in numbers)
            for numbers in some
        ),
    ]
