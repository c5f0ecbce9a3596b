"""What counts as the same, of programs that ran here and under QEMU."""

from __future__ import annotations

from tools.guest_programs import Latitude, Outcome, differences

ONE = Outcome(0, "one", "lines")
SHUFFLED, OTHER = Outcome(0, "two", "lines"), Outcome(0, "two", "others")


def test_a_program_that_is_told_no_order_may_print_its_lines_in_any() -> None:
    latitude = Latitude(free=("free",), unordered=("unordered",))
    here = dict.fromkeys(("free", "unordered", "strict"), ONE)
    assert differences(here, dict.fromkeys(here, ONE), latitude) == []
    assert differences(here, dict.fromkeys(here, SHUFFLED), latitude) == ["strict"]
    assert differences(here, dict.fromkeys(here, OTHER), latitude) == ["unordered", "strict"]
    assert differences(here, dict.fromkeys(here, Outcome(1, "one", "lines")), latitude) == [*here]


def test_what_qemu_has_wrong_at_times_has_to_end_well_here() -> None:
    latitude = Latitude(ours=("ours",))
    well, badly = Outcome(0, "one", "lines"), Outcome(142, "one", "lines")
    assert differences({"ours": well}, {"ours": badly}, latitude) == []
    assert differences({"ours": badly}, {"ours": badly}, latitude) == ["ours"]
    assert differences({"other": well}, {"other": badly}, latitude) == ["other"]
