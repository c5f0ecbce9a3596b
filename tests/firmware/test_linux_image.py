"""Linux's flat images for RISC-V, right and wrong."""

from __future__ import annotations

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.linux_image import load_linux_image
from bimetal.firmware.processors import RISCV
from tests.firmware.elves import RAM
from tests.firmware.images import image


def refusal(data: bytes) -> str:
    """What a user is told about a kernel."""
    with pytest.raises(BimetalError) as caught:
        load_linux_image(data, RISCV.image, "the kernel Image", RAM)
    assert caught.value.remedy
    return caught.value.cause


def test_a_linux_image_goes_where_its_header_says() -> None:
    program = load_linux_image(image(), RISCV.image, "Image", RAM)
    assert (program.entry, program.start) == (RAM + 0x20_0000,) * 2
    assert program.end == RAM + 0x20_3000


def test_an_image_without_a_pe_header_needs_only_its_own() -> None:
    plain = b"\0\0" + image()[2:0x100]
    assert load_linux_image(plain, RISCV.image, "Image", RAM).end == RAM + 0x20_3000


@pytest.mark.parametrize("length", [1, 57, 63, 64, 87, 100, 0x1FFF])
def test_a_truncated_image_is_refused(length: int) -> None:
    cause = refusal(image()[:length])
    assert "the kernel Image is damaged" in cause
    assert ("inside its header" in cause) == (length < 64)


def test_images_that_cannot_run() -> None:
    assert "big-endian" in refusal(image(flags=1))
    assert "asks for" in refusal(image(size=1 << 60))
    assert "asks for" in refusal(image(offset=(1 << 64) - 1))
    assert "asks for" in refusal(image(offset=0x20_0001))
