"""Events are counted always and logged sparingly; traces are chosen by name."""

import logging
from collections.abc import Iterator

import pytest

from bimetal.base import trace
from bimetal.base.errors import BimetalError
from bimetal.base.log import KINDS_LIMIT, EventLog


def test_events_are_logged_at_powers_of_two(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog("uart@10000000")
    with caplog.at_level(logging.WARNING, "bimetal"):
        for number in range(100):
            events.guest_error("write to a read-only register", f"value {number}")
    assert events.counts["guest error: write to a read-only register"] == 100
    assert len(caplog.records) == 7
    assert caplog.records[0].name == "bimetal.uart@10000000"
    assert caplog.messages[0] == "guest error: write to a read-only register: value 0"
    assert caplog.messages[-1].endswith("value 63 (64 times)")


def test_a_guest_cannot_fill_the_counters() -> None:
    events = EventLog("victim")
    for number in range(10_000):
        events.unimplemented(f"thing {number}")
    assert len(events.counts) <= KINDS_LIMIT + 1
    assert sum(events.counts.values()) == 10_000


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    trace.configure("")


@pytest.mark.usefixtures("restored")
def test_trace_stages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIMETAL_TRACE", "mmio,exit")
    trace.configure()
    assert trace.enabled("mmio")
    assert trace.enabled("exit")
    assert not trace.enabled("ir")
    with caplog.at_level(logging.DEBUG, "bimetal"):
        trace.emit("mmio", "uart read")
    assert caplog.messages == ["uart read"]


@pytest.mark.usefixtures("restored")
def test_an_unknown_stage_is_the_users_error() -> None:
    with pytest.raises(BimetalError, match="nonsense"):
        trace.configure("mmio,nonsense")
