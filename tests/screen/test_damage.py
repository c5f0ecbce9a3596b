"""What has changed, as rectangles: judged by a set of tiles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimetal.screen.damage import TILE, Area, Damage

SIDE = st.integers(1, 300)
AT = st.integers(0, 400)
AREA = st.builds(Area, AT, AT, AT, AT)


def tiles(width: int, height: int) -> set[tuple[int, int]]:
    return {(x, y) for y in range(0, height, TILE) for x in range(0, width, TILE)}


def touched(tile: tuple[int, int], area: Area, width: int, height: int) -> bool:
    x, y = tile
    right, bottom = min(area.x + area.width, width), min(area.y + area.height, height)
    return max(x, area.x) < min(x + TILE, right) and max(y, area.y) < min(y + TILE, bottom)


@given(SIDE, SIDE, st.lists(AREA, max_size=4), AREA)
def test_what_is_taken_covers_what_has_changed(
    width: int, height: int, drawn: list[Area], wanted: Area
) -> None:
    damage, expected = Damage(width, height), set[tuple[int, int]]()
    for area in drawn:
        damage.add(area)
        expected |= {each for each in tiles(width, height) if touched(each, area, width, height)}
    assert bool(damage) == bool(expected)
    wanted_tiles = {each for each in expected if touched(each, wanted, width, height)}
    assert damage.touches(wanted) == bool(wanted_tiles)
    seen: set[tuple[int, int]] = set()
    for x, y, wide, high in damage.take(wanted):
        assert wide > 0
        assert high > 0
        assert wanted.x <= x < x + wide <= min(width, wanted.x + wanted.width)
        assert wanted.y <= y < y + high <= min(height, wanted.y + wanted.height)
        new = {
            (a * TILE, b * TILE)
            for a in range(x // TILE, -(-(x + wide) // TILE))
            for b in range(y // TILE, -(-(y + high) // TILE))
        }
        assert not new & seen, "a tile in two rectangles"
        seen |= new
    assert seen == wanted_tiles
    whole = Area(0, 0, width, height)
    left = {
        each
        for each in expected
        if not (
            wanted.x <= each[0]
            and wanted.y <= each[1]
            and min(each[0] + TILE, width) <= wanted.x + wanted.width
            and min(each[1] + TILE, height) <= wanted.y + wanted.height
        )
    }
    rest = Damage(width, height)
    rest.merge(damage)
    covered = {
        each
        for area in rest.take(whole)
        for each in tiles(width, height)
        if touched(each, area, width, height)
    }
    assert covered == left


def test_neighbours_become_one() -> None:
    damage = Damage(1000, 500)
    for column in range(3, 7):
        for row in range(2, 5):
            damage.add_tile(column, row)
    assert damage.take(Area(0, 0, 1000, 500)) == [Area(192, 128, 256, 192)]
    assert not damage
    damage.add_all()
    assert damage.take(Area(0, 0, 1000, 500)) == [Area(0, 0, 1000, 500)]


def test_of_a_picture_of_another_size_the_common_part_counts() -> None:
    small, large = Damage(100, 100), Damage(300, 300)
    large.add_all()
    small.merge(large)
    assert small.take(Area(0, 0, 500, 500)) == [Area(0, 0, 100, 100)]
