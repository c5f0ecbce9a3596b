"""What CPUID tells: models, masks, topology, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.accel.kvm.x86_cpuid import (
    Leaf,
    encode,
    for_cpu,
    host_brand,
    parse_model,
    with_brand,
)
from bimetal.accel.kvm.x86_described import check_host, described_leaves
from bimetal.accel.kvm.x86_features import LEVELS
from bimetal.accel.kvm.x86_handover import announced, is_common
from bimetal.base.errors import BimetalError
from bimetal.isa.x86.features import FEATURES
from bimetal.isa.x86.models import LEVELS as OUR_LEVELS
from bimetal.isa.x86.models import MODELS, processor

INTEL = {"ebx": 0x756E_6547, "edx": 0x4965_6E69, "ecx": 0x6C65_746E}
AMD = {"ebx": 0x6874_7541, "edx": 0x6974_6E65, "ecx": 0x444D_4163}


def host(*features: str, vendor: dict[str, int] = INTEL) -> list[Leaf]:
    """A host with these features and no others."""
    leaves = {(0, 0): Leaf(0, eax=0x16, **vendor), (0xB, 0): Leaf(0xB)}
    for name in features:
        feature = FEATURES[name]
        key = (feature.function, feature.index)
        leaves[key] = leaves.get(key, Leaf(*key)).with_bit(feature, True)
    return list(leaves.values())


def has(leaves: list[Leaf], name: str) -> bool:
    return any(leaf.has(FEATURES[name]) for leaf in leaves)


V3 = (LEVELS["x86-64-v3"] or ()) + ("avx512f", "x2apic", "rdrand", "svm")


@pytest.mark.parametrize(
    ("name", "function", "index", "register", "bit"),
    [
        ("sse2", 1, 0, "edx", 26),
        ("x2apic", 1, 0, "ecx", 21),
        ("tsc_deadline", 1, 0, "ecx", 24),
        ("hypervisor", 1, 0, "ecx", 31),
        ("avx2", 7, 0, "ebx", 5),
        ("avx512vl", 7, 0, "ebx", 31),
        ("la57", 7, 0, "ecx", 16),
        ("ssbd", 7, 0, "edx", 31),
        ("syscall", 0x8000_0001, 0, "edx", 11),
        ("lm", 0x8000_0001, 0, "edx", 29),
        ("cmp_legacy", 0x8000_0001, 0, "ecx", 1),
        ("topoext", 0x8000_0001, 0, "ecx", 22),
    ],
)
def test_features_are_where_the_manuals_say(
    name: str, function: int, index: int, register: str, bit: int
) -> None:
    feature = FEATURES[name]
    assert (feature.function, feature.index) == (function, index)
    assert (feature.register, feature.bit) == (register, bit)


def test_host_is_everything() -> None:
    assert parse_model("host", host(*V3)) == host(*V3)


def test_a_level_has_its_own_features_and_those_of_the_platform() -> None:
    leaves = parse_model("x86-64-v2", host(*V3))
    assert all(has(leaves, name) for name in LEVELS["x86-64-v2"] or ())
    assert has(leaves, "x2apic")
    assert not any(has(leaves, name) for name in ("avx", "avx512f", "rdrand", "svm"))


def test_features_come_and_go() -> None:
    leaves = parse_model("host,-avx2, +rdrand", host(*V3))
    assert has(leaves, "rdrand")
    assert not has(leaves, "avx2")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("x86-64-v4", "needs avx512bw, avx512cd, avx512dq, avx512vl"),
        ("host,+sgx", "needs sgx"),
        ("x86-64-v9", "there is no processor model 'x86-64-v9'"),
        ("host,avx", "there is no processor feature 'avx'"),
        ("host,-avxx", "there is no processor feature 'avxx'"),
    ],
)
def test_models_that_cannot_be(model: str, why: str) -> None:
    with pytest.raises(BimetalError, match=why):
        parse_model(model, host(*V3))


def leaf(leaves: list[Leaf], function: int, index: int = 0) -> Leaf:
    return next(each for each in leaves if (each.function, each.index) == (function, index))


@pytest.mark.parametrize("vendor", [INTEL, AMD], ids=["intel", "amd"])
def test_four_cpus_are_cores_of_one_package(vendor: dict[str, int]) -> None:
    leaves = for_cpu(host("sse2", "lm", vendor=vendor), index=2, cpus=4)
    first = leaf(leaves, 1)
    assert first.ebx >> 24 == 2
    assert first.ebx >> 16 & 0xFF == 4
    assert has(leaves, "ht")
    assert has(leaves, "hypervisor")
    levels = [leaf(leaves, 0xB, index) for index in range(3)]
    assert [(each.eax, each.ebx, each.ecx >> 8 & 0xFF) for each in levels] == [
        (0, 1, 1),
        (2, 4, 2),
        (0, 0, 0),
    ]
    assert all(each.edx == 2 for each in levels)
    assert has(leaves, "cmp_legacy") == (vendor is AMD)


def test_one_cpu_has_no_company() -> None:
    leaves = for_cpu(host("ht", "lm", vendor=AMD), index=0, cpus=1)
    assert not has(leaves, "ht")
    assert not has(leaves, "cmp_legacy")


def test_the_argument_of_the_kernel() -> None:
    buffer = encode([Leaf(1, 2, 3, 4, 5, 6, 7)])
    assert len(buffer) == 8 + 40
    assert [int.from_bytes(buffer[at : at + 4], "little") for at in range(0, 36, 4)] == [
        1,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    ]


def test_the_processor_has_the_hosts_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Bimetal 3000\n")
    leaves = with_brand(host("lm"), host_brand(str(cpuinfo)))
    words = [getattr(leaf(leaves, 0x8000_0002), name) for name in ("eax", "ebx", "ecx", "edx")]
    assert b"".join(word.to_bytes(4, "little") for word in words).startswith(b"Bimetal 3000\0")
    assert with_brand(leaves, "another") == leaves
    assert host_brand(str(tmp_path / "missing")) == ""


@pytest.mark.parametrize("model", MODELS)
def test_our_own_processors_are_the_same_here(model: str) -> None:
    """By a name that KVM takes for one of them, not for a level of the host's."""
    name = announced(model)
    assert is_common(name)
    assert processor(name) == MODELS[model]
    leaves = described_leaves(name, 3)
    assert {each for each in FEATURES if has(leaves, each)} == MODELS[model].features
    assert leaf(leaves, 1).ebx >> 24 == leaf(leaves, 0xB).edx == 3


def test_a_level_of_the_hosts_processor_is_none_of_ours() -> None:
    assert not any(map(is_common, ("host", "host,-avx2", *OUR_LEVELS, "x86-64-v2,-popcnt")))
    assert announced("Nehalem,-popcnt") == "Nehalem,-popcnt"
    assert announced("") == "max"


def test_what_the_host_lacks_of_our_processors_is_told() -> None:
    leaves = described_leaves("Nehalem", 0)
    check_host("Nehalem", leaves, host(*MODELS["Nehalem"].features))
    with pytest.raises(BimetalError, match="Nehalem has popcnt, which this host's KVM") as caught:
        check_host("Nehalem", leaves, host(*MODELS["Nehalem"].features - {"popcnt"}))
    assert "--cpu help" in caught.value.remedy


def test_features_have_the_names_of_qemu_too() -> None:
    leaves = parse_model("host,-sse4.2,-pni,+sha-ni", host(*V3, "sha_ni"))
    assert not has(leaves, "sse4_2")
    assert not has(leaves, "sse3")
    assert has(leaves, "sha_ni")
