"""Machines on the host's KVM, or the reason why there are none."""

from collections.abc import Iterator

import pytest

from tests.accel.kvm.guest import GuestMachine, guest_machine
from tests.accel.kvm.quirks import KVM_MISSING


@pytest.fixture
def kvm() -> None:
    """For tests that use /dev/kvm."""
    if KVM_MISSING:
        pytest.skip(KVM_MISSING)


@pytest.fixture
def guest(kvm: None) -> Iterator[GuestMachine]:
    """A machine without interrupt controllers."""
    with guest_machine(cpus=2) as guest:
        yield guest


@pytest.fixture
def pc(kvm: None) -> Iterator[GuestMachine]:
    """A machine whose interrupt controllers are in the kernel."""
    with guest_machine(cpus=2, controller="kernel") as guest:
        yield guest
