"""Questions to a machine in another process: what becomes of those that are not answered."""

from __future__ import annotations

import os

import pytest

from bimetal.base.errors import BimetalError
from bimetal.machine import talk
from bimetal.machine.talk import Asker, tell_beginning


def test_a_copy_that_does_not_begin_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(talk, "PATIENCE", 0.01)
    (requests, asks), (answers, tells) = os.pipe(), os.pipe()
    asker = Asker(asks, answers)
    with pytest.raises(BimetalError, match="has not begun"):
        asker.hear_beginning()
    tell_beginning(tells)
    asker.hear_beginning()
    asker.close()
    os.close(requests)
    os.close(tells)
