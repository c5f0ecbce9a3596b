"""What of a remedy can be done on another command line."""

import pytest

from bimetal.base.remedies import remedy_elsewhere


@pytest.mark.parametrize(
    ("remedy", "told"),
    [
        ("give it less memory", "give it less memory"),
        ("give an ELF file, or say --kernel-format raw for a raw binary", "give an ELF file"),
        ("choose --board arm-virt, or give one for this board", "give one for this board"),
        ("give it with --initrd", "give it with --initrd"),
        ("give it as a disk (--disk), and a kernel", "give it as a disk, and a kernel"),
        ("give it as the initrd (--initrd)", "give it as the initrd (--initrd)"),
        ("see what it runs: --profile", ""),
        (
            "bimetal image info --backing-chain tells which it lies on",
            "bimetal image info --backing-chain tells which it lies on",
        ),
        ("", ""),
    ],
)
def test_only_what_can_be_done_there(remedy: str, told: str) -> None:
    assert remedy_elsewhere(remedy, ["initrd", "kernel"]) == told
