"""Images of every kind, made by qemu-img and by us: each says of the other's what it says of its
own.

``pytest -m slow tests/images/test_matrix.py`` makes more than 400 images of more than 200 kinds;
the normal run a few.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.cli.image.text import check_words, extent_words, information_words
from tests.backends.block.qcow2.qemu import img, needs_qemu
from tests.images.recipes import Made, Recipe, by_qemu, by_us, recipes

pytestmark = needs_qemu

ALL = list(recipes())
QUICK = range(0, len(ALL), 29)

MAKERS = {"by qemu": by_qemu, "by us": by_us}


def cases() -> list[Any]:
    return [
        pytest.param(
            number, recipe, id=str(recipe), marks=[] if number in QUICK else [pytest.mark.slow]
        )
        for number, recipe in enumerate(ALL)
    ]


def test_there_are_as_many_as_promised() -> None:
    assert len({str(recipe) for recipe in ALL}) == len(ALL) >= 200


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("number", "recipe"), cases())
def test_both_say_the_same(number: int, recipe: Recipe, maker: str, tmp_path: Path) -> None:
    make: Callable[[Recipe, Path, int], Made] = MAKERS[maker]
    made = make(recipe, tmp_path / "image", number)
    path = str(made.path)
    settle(made.path)
    assert told("check", path) == check_words(images.check(path))
    assert told("info", path) == without_space(information_words(images.information(path)))
    assert told("map", path) == [extent_words(extent) for extent in images.extents(path)]
    shown = tmp_path / "shown.raw"
    shown.write_bytes(made.content)
    img("compare", "-f", "qcow2", "-F", "raw", path, shown)
    assert images.compare(path, str(shown), second_format="raw").identical
    out = tmp_path / "out.raw"
    images.convert([path], str(out))
    assert out.read_bytes() == made.content


def test_its_snapshots_are_the_same_to_both(tmp_path: Path) -> None:
    recipe = Recipe({"cluster_size": "4096"}, snapshots=2)
    for name, make in MAKERS.items():
        made = make(recipe, tmp_path / name, 1)
        for number in range(2):
            ours, theirs = tmp_path / "ours.raw", tmp_path / "theirs.raw"
            images.convert([str(made.path)], str(ours), snapshot=f"snapshot {number}")
            img("convert", "-l", f"snapshot {number}", "-O", "raw", made.path, theirs)
            assert ours.read_bytes() == theirs.read_bytes() != made.content


def settle(path: Path) -> None:
    """Have the host give the file its space now: qemu-img and we look at how much it has."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def told(command: str, path: str) -> Any:
    """What qemu-img says."""
    arguments = ["qemu-img", command, "--output=json", "-f", "qcow2", path]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    words = json.loads(done.stdout)
    return without_space(words) if command == "info" else words


def without_space(words: dict[str, Any]) -> dict[str, Any]:
    """Not how much space the host has given to the file: that may change at any time."""
    del words["actual-size"]
    return words
