"""What is hot: samples add up by place, cool down, and lead to pages and regions."""

from __future__ import annotations

from msgspec.structs import replace

from bimetal.accel.hotness import Hotness, Spot
from bimetal.codegen.policy import USUAL

POLICY = replace(USUAL, places=2, window=100, share=0.1, very_hot=10, later=2)


def spot(page: int, offset: int) -> Spot:
    return Spot(0, page, offset, False)


def test_the_hottest_place_brings_those_of_its_page() -> None:
    hotness = Hotness(POLICY)
    for place, weight in ((spot(1, 0), 3), (spot(2, 8), 5), (spot(1, 4), 4), (spot(1, 8), 2)):
        hotness.at(place, weight)
    hotness.at(spot(1, 0), 3)
    assert hotness.hottest() == (spot(1, 0), 6)
    assert hotness.take((0, 1)) == [spot(1, 0), spot(1, 4)]
    assert list(hotness.take_all({(0, 1): 3, (0, 2): 5}.__getitem__)) == [[spot(2, 8)]]
    assert list(hotness.take_all({(0, 1): 2}.__getitem__)) == [[spot(1, 8)]]
    assert hotness.hottest() == (None, 0)


def test_what_is_under_way_is_left_alone() -> None:
    hotness = Hotness(POLICY)
    hotness.at(spot(1, 0), 3)
    hotness.at(spot(2, 0), 2)
    hotness.within(0x1000, spot(1, 4), 30, 30)
    hotness.within(0x2000, spot(2, 4), 20, 20)
    busy = {(0, 1)}
    assert hotness.hottest(busy.__contains__) == (spot(2, 0), 2)
    assert hotness.hottest({(0, 1), (0, 2)}.__contains__) == (None, 0)
    hot = hotness.take_region(busy.__contains__)
    assert hot is not None
    assert hot.address == 0x2000
    assert hotness.take_region(busy.__contains__) is None


def test_regions_are_taken_that_are_worth_it_in_their_pages() -> None:
    hotness = Hotness(POLICY)
    for address, page, samples in ((0x1000, 1, 3), (0x2000, 2, 5), (0x3000, 3, 4)):
        hotness.within(address, spot(page, 4), samples, samples)
    taken = list(hotness.take_regions({(0, 1): 3, (0, 2): 5, (0, 3): 5}.__getitem__))
    assert [(hot.address, hot.last, hot.entered) for hot in taken] == [
        (0x2000, spot(2, 4), (4,)),
        (0x1000, spot(1, 4), (4,)),
    ]
    (last,) = hotness.take_regions({(0, 3): 4}.__getitem__)
    assert (last.address, last.last, last.entered) == (0x3000, spot(3, 4), (4,))


def test_a_page_with_other_code_begins_cold() -> None:
    hotness = Hotness(POLICY)
    hotness.at(spot(1, 0), 3)
    hotness.at(spot(2, 0), 1)
    hotness.forget((0, 1))
    hotness.forget((0, 3))
    assert hotness.hottest() == (spot(2, 0), 1)


def test_a_worker_is_started_for_much_that_is_hot_or_for_a_very_hot_region() -> None:
    policy = replace(POLICY, hot=4, start=12)
    hotness = Hotness(policy)
    for offset in range(0, 400, 4):
        hotness.at(spot(1, offset), 3)
    hotness.at(spot(2, 0), 8)
    assert not hotness.pays_for_worker()
    hotness.at(spot(2, 4), 4)
    assert hotness.pays_for_worker()
    hotness.forget_places()
    assert not hotness.pays_for_worker()
    hotness = Hotness(policy)
    hotness.within(0x1000, spot(1, 4), 10, 10)
    assert hotness.pays_for_worker()


def test_what_is_long_ago_counts_for_less() -> None:
    hotness = Hotness(POLICY)
    hotness.at(spot(1, 0), 30)
    hotness.at(spot(2, 0), 1)
    hotness.count(100, 100, familiar=False)
    hotness.looked()
    assert hotness.hottest() == (spot(1, 0), 30)
    assert hotness.least(2) == 10
    hotness.count(20, 20, familiar=False)
    hotness.looked()
    assert hotness.recent == 60
    assert hotness.take((0, 1)) == [spot(1, 0)]
    assert hotness.hottest() == (None, 0), "a single sample is forgotten"


def test_where_samples_count_less_a_place_needs_no_larger_share() -> None:
    hotness = Hotness(POLICY)
    hotness.count(1000, 1000 / 25, familiar=True)
    assert hotness.least(2) == 4, "a tenth of what all samples count for, as `share` has it"
    hotness.looked()
    assert hotness.least(1) == 2, "of the recent ones"


def test_what_a_run_that_repeats_an_earlier_one_began_with_counts_at_its_end() -> None:
    hotness = Hotness(replace(POLICY, remembered=2))
    hotness.at(spot(1, 0), 3)
    hotness.at(spot(1, 4), 1)
    for _ in range(10):
        hotness.count(101, 101, familiar=True)
        hotness.looked()
    assert hotness.hottest() == (spot(1, 0), 3)
    hotness.at(spot(2, 0), 2)  # one place too many
    hotness.count(101, 101, familiar=True)
    hotness.looked()
    assert hotness.hottest() == (spot(1, 0), 1.5)


def test_a_run_repeats_an_earlier_one_if_most_samples_are_in_familiar_pages() -> None:
    hotness = Hotness(POLICY)
    assert not hotness.repeats
    hotness.count(3, 3, familiar=True)
    hotness.count(3, 3, familiar=False)
    assert not hotness.repeats
    hotness.count(1, 1, familiar=True)
    assert hotness.repeats


def test_a_very_hot_region_is_given_once_with_its_entries() -> None:
    hotness = Hotness(POLICY)
    hotness.within(0x1000, spot(1, 4), 3, 3)
    hotness.within(0x1000, spot(1, 8), 5, 5)
    hotness.within(0x2000, spot(1, 0), 1, 1)
    assert hotness.take_region() is None
    hotness.within(0x1000, spot(7, 4), 4, 4)
    hot = hotness.take_region()
    assert hot is not None
    assert (hot.address, hot.last, hot.entered) == (0x1000, spot(7, 4), (4, 8))
    assert hotness.take_region() is None


def test_where_vcpus_were_interpreting_when_a_region_became_ready_is_no_entry_of_it() -> None:
    hotness = Hotness(replace(POLICY, places=3))
    hotness.within(0x1000, spot(1, 4), 3, 3, inside=False)
    hotness.within(0x1000, spot(1, 8), 2, 2)
    hotness.within(0x1000, spot(1, 12), 3, 3, inside=False)
    hotness.looked()
    hotness.within(0x1000, spot(1, 8), 5, 5)
    hotness.within(0x1000, spot(1, 16), 1, 1, inside=False)
    hot = hotness.take_region()
    assert hot is not None
    assert (hot.entered, hot.seldom) == ((8, 16), ())


def test_entries_with_few_samples_are_told_from_the_others() -> None:
    hotness = Hotness(replace(POLICY, places=3, seldom=0.1))
    hotness.within(0x1000, spot(1, 4), 1, 1)
    hotness.within(0x1000, spot(1, 8), 17, 17)
    hotness.within(0x1000, spot(1, 12), 2, 2)
    hot = hotness.take_region()
    assert hot is not None
    assert (hot.entered, hot.seldom) == ((8, 12, 4), (4,))


def test_a_very_hot_region_takes_those_of_its_page_that_are_hot_too() -> None:
    hotness = Hotness(replace(POLICY, places=3, near=2))
    hotness.within(0x1000, spot(1, 4), 12, 12)
    hotness.within(0x2000, spot(1, 8), 6, 6)
    hotness.within(0x3000, spot(1, 12), 4, 4)
    hotness.within(0x4000, spot(2, 16), 9, 9)
    hot = hotness.take_region()
    assert hot is not None
    assert (hot.address, hot.entered) == (0x1000, (4, 8))
    hotness.within(0x2000, spot(1, 8), 6, 6)
    again = hotness.take_region()
    assert again is not None
    assert again.address == 0x2000, "it is asked for by itself if it is hot still"


def test_a_region_is_not_said_to_be_in_a_page_whose_code_has_changed() -> None:
    hotness = Hotness(POLICY)
    hotness.within(0x1000, spot(1, 4), 12, 12)
    hotness.forget((0, 1))
    assert hotness.take_region() is None
    assert not [*hotness.take_regions({(0, 1): 1}.__getitem__)]
    hotness.within(0x2000, spot(1, 8), 12, 12)
    hot = hotness.take_region()
    assert hot is not None
    assert (hot.address, hot.entered) == (0x2000, (8,)), "nothing of the code that was there before"
    hotness.within(0x1000, spot(2, 4), 1, 1)
    again = hotness.take_region()
    assert again is not None
    assert (again.address, again.last) == (0x1000, spot(2, 4)), "it is in another page, too"


def test_of_regions_that_were_entered_long_ago_nothing_is_known() -> None:
    hotness = Hotness(POLICY)
    for number in range(1000):
        hotness.within(number, spot(number % 10, 4), 1, 1)
    hotness.within(5000, spot(1, 8), 40, 40)
    for _ in range(3):
        hotness.count(100000, 100000, familiar=False)
        hotness.looked()
    assert [*hotness._entered] == [*hotness._last] == [5000]
    assert [*hotness._by_page] == [(0, 1)]
    hotness.forget((0, 1))
    for _ in range(9):
        hotness.count(100000, 100000, familiar=False)
        hotness.looked()
    known = (hotness._entered, hotness._last, hotness._by_page, hotness._regions)
    assert not any(known)


def test_who_looks_for_nothing_that_cool_finds_what_gets_hot_later() -> None:
    hotness = Hotness(POLICY)
    hotness.at(spot(1, 0), 3)
    hotness.at(spot(2, 0), 7)
    busy = {(0, 2)}
    assert hotness.hottest(busy.__contains__, least=4)[1] < 4
    assert hotness.hottest(least=4) == (spot(2, 0), 7)
    hotness.take((0, 2))
    for _ in range(2):
        assert hotness.hottest(least=4)[1] < 4
    hotness.at(spot(1, 0), 1)
    assert hotness.hottest(least=4) == (spot(1, 0), 4)
    for weight in (9, 1):
        assert hotness.take_region() is None
        hotness.within(0x1000, spot(1, 4), weight, weight)
    assert hotness.take_region() is not None
