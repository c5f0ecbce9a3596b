"""What somebody may have meant."""

import pytest

from bimetal.base.near import did_you_mean

GUESTS = ("debian-riscv64", "debian-sid-riscv64", "opensbi-uboot-riscv64", "debian-cloud-amd64")


@pytest.mark.parametrize(
    ("wrote", "known", "meant"),
    [
        ("debain-cloud-amd64", GUESTS, "did you mean debian-cloud-amd64?"),
        ("UBOOT", GUESTS, "did you mean opensbi-uboot-riscv64?"),
        ("virt", ("riscv-virt", "microvm"), "did you mean riscv-virt?"),
        ("LRS", ("LSR", "IER"), "did you mean LSR?"),
        ("sid", ("x-sid", "y-sid"), "did you mean x-sid or y-sid?"),
        ("eip", ("sysenter_eip", "rip", "rsp"), "did you mean rip or sysenter_eip?"),
        (
            "cortex-a67",
            ("a57", "cortex-a57", "cortex-a76"),
            "did you mean cortex-a76 or cortex-a57?",
        ),
        ("q35", ("riscv-virt", "microvm"), ""),
        ("", ("riscv-virt",), ""),
        ("pc", (), ""),
    ],
)
def test_the_nearest_names(wrote: str, known: tuple[str, ...], meant: str) -> None:
    assert did_you_mean(wrote, known) == meant


def test_a_few_are_enough() -> None:
    assert did_you_mean("mhpmevent", [f"mhpmevent{n}" for n in range(3, 32)]).count("mhpm") == 3
