"""What records that hold secrets show of themselves."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from bimetal.control.definition import Definition, ScreenPart
from bimetal.control.installing.planning import Plan, Wanted, plan
from bimetal.web.guard import Rules

SECRET = "xyzzy-17"


def planned(tmp_path: Path) -> Plan:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    wanted = Wanted(
        "fly",
        memory="64",
        is_import=True,
        boot=f"kernel={file}",
        disks=("none",),
        graphics=f"vnc,password={SECRET}",
        cloud_init=f"root-password-file={file}",
    )
    return plan(wanted, tmp_path)


RECORDS = [
    ScreenPart(password=SECRET),
    Definition("fly", uuid4(), "riscv-virt", 1 << 20, screen=ScreenPart(password=SECRET)),
    Wanted("fly", graphics=f"vnc,password={SECRET}"),
    Rules(SECRET),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_does_not_show_what_is_secret(record: object) -> None:
    assert SECRET not in repr(record)


def test_a_plan_does_not_show_the_passwords_of_the_machine(tmp_path: Path) -> None:
    found = planned(tmp_path)
    assert SECRET in found.seed["user-data"]
    assert SECRET not in repr(found)
    generated = Plan(found.definition, (), True, injected={"a": SECRET.encode()}, password=SECRET)
    assert SECRET not in repr(generated)


def test_the_rest_is_shown() -> None:
    assert "name='fly', memory='64', cpus=''" in repr(Wanted("fly", memory="64"))
    assert repr(Rules(SECRET, ["cottage"])) == "Rules(token=..., names=['cottage'])"
    assert repr(Rules("")) == "Rules(token='', names=())"
