"""Reading the ring of samples while a vCPU writes it."""

from __future__ import annotations

import pytest

from bimetal.accel import sampler
from bimetal.accel.sampler import Sampler, SampleReader
from bimetal.accel.vcpu_state import VcpuState
from bimetal.codegen.layout import SAMPLE_WORDS, SAMPLES, Layout
from bimetal.isa.names import architecture
from bimetal.isa.riscv import rv64
from bimetal.seam import Place

RISCV = architecture("riscv64")


class Vcpu:
    """Leaves samples as native code does: one of each number, at the address of that number."""

    def __init__(self) -> None:
        self.state = VcpuState(Layout.of(rv64))

    @property
    def sampled(self) -> int:
        return self.state.get("sample_count")

    def leave(self, count: int, mode: int = 3, in_region: int = 0) -> None:
        for number in range(self.sampled, self.sampled + count):
            at = number % SAMPLES * SAMPLE_WORDS
            words = (0x1000 + number, 0x2000 + number, 4 * number, mode, in_region)
            for place, word in enumerate(words):
                self.state.set("sample", at + place, word)
            self.state.set("sample_count", 0, number + 1)


def pcs(words: list[int]) -> list[int]:
    return words[2::SAMPLE_WORDS]


def test_each_sample_is_taken_once() -> None:
    vcpu = Vcpu()
    reader = SampleReader(vcpu.state)
    assert reader.take() == []
    vcpu.leave(2, mode=0, in_region=1)
    assert reader.take() == [0x1000, 0x2000, 0, 0, 1, 0x1001, 0x2001, 4, 0, 1]
    assert reader.take() == []
    assert reader.lost == 0


def test_samples_around_the_end_of_the_ring() -> None:
    vcpu = Vcpu()
    reader = SampleReader(vcpu.state)
    vcpu.leave(SAMPLES - 3)
    assert len(pcs(reader.take())) == SAMPLES - 3
    vcpu.leave(5)
    assert pcs(reader.take()) == [4 * n for n in range(SAMPLES - 3, SAMPLES + 2)]
    assert reader.lost == 0


def test_a_reader_that_comes_late_counts_what_it_missed() -> None:
    vcpu = Vcpu()
    reader = SampleReader(vcpu.state)
    vcpu.leave(SAMPLES + 10)
    taken = pcs(reader.take())
    # The oldest one left is where the vCPU writes next, so it is not to be trusted.
    assert taken == [4 * n for n in range(11, SAMPLES + 10)]
    assert reader.lost == 11
    assert reader.lost + len(taken) == vcpu.sampled


def test_two_readers_do_not_disturb_each_other() -> None:
    vcpu = Vcpu()
    first, second = SampleReader(vcpu.state), SampleReader(vcpu.state)
    vcpu.leave(3)
    assert pcs(first.take()) == [0, 4, 8]
    vcpu.leave(1)
    assert pcs(second.take()) == [0, 4, 8, 12]


def test_sums_of_all_harts_begin_with_the_sampler() -> None:
    old, new = Vcpu(), Vcpu()
    old.leave(1)
    vcpus = [old]
    summing = Sampler(vcpus, RISCV)
    old.leave(1, mode=0)
    new.leave(2, in_region=1)
    vcpus.append(new)
    seen = summing.samples()
    summing.close()
    assert seen.lost == 0
    assert seen.counts == {
        Place(4, "user", False, user=True): 1,
        Place(0, "machine", True): 1,
        Place(4, "machine", True): 1,
    }
    assert summing.samples() == seen


def test_more_places_than_one_can_keep_are_summed_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampler, "PLACES", 2000)
    vcpu = Vcpu()
    summing = Sampler([vcpu], RISCV)
    vcpu.leave(2048)
    summing.samples()
    vcpu.leave(1024)
    counts = summing.samples().counts
    summing.close()
    assert counts == {Place(page, "machine", False): 1024 for page in (0, 0x1000, 0x2000)}
