"""Terms and resources of ACPI's machine language."""

from __future__ import annotations

import pytest

from bimetal.firmware.acpi import aml


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "00"),
        (1, "01"),
        (2, "0a02"),
        (0x1234, "0b3412"),
        (0x1234_5678, "0c78563412"),
        (1 << 40, "0e0000000000010000"),
    ],
)
def test_integers_take_their_shortest_form(value: int, code: str) -> None:
    assert aml.integer(value).hex() == code


@pytest.mark.parametrize("length", [0, 61, 62, 63, 4000, 4094, 5000, 1 << 20])
def test_a_package_length_counts_itself(length: int) -> None:
    code = aml.sized(bytes(length))
    extra = code[0] >> 6
    if extra == 0:
        told = code[0]
    else:
        told = code[0] & 0xF | int.from_bytes(code[1 : 1 + extra], "little") << 4
    assert told == len(code)


def test_names_and_identifiers() -> None:
    assert aml.name_string("\\_SB") == b"\\_SB_"
    assert aml.name_string("\\_SB.COM1") == b"\\\x2e_SB_COM1"
    assert aml.eisa_id("PNP0501").hex() == "0c41d00501"
    with pytest.raises(ValueError, match="more than four"):
        aml.name_string("TOOLONG")
