"""Programs from QEMU's and Valgrind's source packages do in a guest of ours, in code of 64 and 32
bits, what they do on the host's own processor."""

from __future__ import annotations

import pytest

from bimetal import BimetalError
from tests.host import lacking, programs
from tools import x86_programs
from tools.guest_programs import differences, run_here, run_on_host

pytestmark = [pytest.mark.slow, programs("cc", "perl", "apt-get")]

CPUS = 2
LEAST = 180
"""How many programs there are at least."""


def test_programs_do_what_they_do_on_the_host() -> None:
    """Without a network, or libraries of 32 bits, the test is skipped, but not by .ci/run."""
    try:
        tried = x86_programs.programs()
    except BimetalError as error:
        lacking(str(error))
    if len(tried) < LEAST:
        lacking("there is no C library of 32 bits (Debian: libc6-dev-i386, lib32gcc-12-dev)")
    here = run_here(tried, "interp", CPUS, x86_programs.GUEST)
    there = run_on_host(tried)
    assert not {
        name: (here[name], there[name]) for name in differences(here, there, x86_programs.LATITUDE)
    }
