"""Verbs and commands by HTTP: all that are registered, on machines that run."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from openapi_spec_validator import validate

from bimetal import images
from bimetal.control import ScreenPart
from bimetal.control.commands import MACHINE
from bimetal.control.verbs import HOST
from bimetal.web.api import BODY_LIMIT
from bimetal.web.openapi import describe
from tests.control.homes import Homes
from tests.web.browser import Browser


def test_a_life_by_http(homes: Homes, browser: Browser) -> None:
    defined = browser.post("define", file=homes.text("crab"))
    assert (defined.status, defined.value) == (200, {"name": "crab", "notes": []})
    assert browser.get("list").value == []
    (known,) = browser.get("list", all="true").value
    assert (known["name"], known["state"]) == ("crab", "shut off")
    assert browser.post("machines/crab/start").value["state"] == "running"
    assert browser.post("machines/1/suspend").value["name"] == "crab"
    assert browser.get("machines/crab/domstate").value["state"] == "paused"
    status = browser.post("machines/crab/commands/query-status")
    assert status.value == {"running": False, "status": "paused"}
    human = browser.post("machines/crab/commands/human-monitor-command", command_line="info name")
    assert human.value == "crab\n"
    assert browser.post("machines/crab/resume").value["id"] == 1
    assert browser.get("machines/crab/dominfo").value["max_memory"] == 16 << 10
    assert "<name>crab</name>" in browser.get("machines/crab/dumpxml", inactive="true").value
    assert browser.post("machines/crab/destroy").status == 200
    assert browser.post("machines/crab/undefine").status == 200
    assert [*homes.machines] == []


def test_a_name_with_signs(homes: Homes, browser: Browser) -> None:
    name = "Å crab; 100% #1?"
    browser.post("define", file=homes.text(name))
    assert browser.get(f"machines/{name}/domname").value["name"] == name


def test_errors_say_what_to_do(homes: Homes, browser: Browser) -> None:
    browser.post("define", file=homes.text("crab"))
    for reply, status, title in (
        (browser.post("machines/crap/start"), 404, "failed to get domain 'crap'"),
        (browser.post("machines/crab/suspend"), 409, "domain is not running"),
        (browser.post("machines/crab/start", colour="red"), 400, "colour"),
        (browser.post("machines/crab/start", paused="yes"), 400, "paused"),
        (browser.post("machines/crab/start", domain="whale"), 400, "said by the path"),
        (browser.get("list", all="perhaps"), 400, "all"),
        (browser.get("list", colour="red"), 400, "colour"),
        (browser.send("GET", "/api/list?all=1&all=1", browser.authorization), 400, "twice"),
        (browser.post("define", file="<domain>"), 422, "no XML"),
        (browser.post("define"), 400, "file"),
        (browser.post("machines/../define", file=""), 404, "machine"),
        (browser.post("machines/.crab/start"), 422, "cannot be called"),
        (browser.post("machines/crab/commands/frobnicate"), 404, "frobnicate"),
        (browser.post("machines/crab/commands/balloon", value="much"), 400, "value"),
        (browser.get("machines/crab/start"), 405, "Method Not Allowed"),
        (browser.get("frobnicate"), 404, "Not Found"),
    ):
        assert reply.status == status, (title, reply)
        assert reply.headers["content-type"] == "application/problem+json"
        assert title in reply.value["title"] or title == "machine", reply
        assert reply.value["status"] == status


def test_contents_that_are_none(browser: Browser) -> None:
    kind = {**browser.authorization, "Content-Type": "application/json"}
    for content, headers, status in (
        (b"{", kind, 422),
        (b"[]", kind, 422),
        (b"\xff", kind, 422),
        (b"[" * 100_000, kind, 422),
        (b"{}", {**kind, "Content-Type": "text/plain"}, 422),
        (b'{"file": "\\u0000"}', kind, 400),
        (b'{"file": "\\ud800"}', kind, 422),
        (b" " * (BODY_LIMIT + 1), kind, 422),
    ):
        assert browser.send("POST", "/api/define", headers, content).status == status, content[:9]
    bomb = '<!DOCTYPE x [<!ENTITY a "aa">]><domain>&a;</domain>'
    assert "document type" in browser.post("define", file=bomb).value["title"]
    long = browser.post("machines/" + "a" * 10_000 + "/start")
    assert "longer than 100 bytes" in long.value["title"]
    with suppress(ConnectionError):  # it may hang up before it has heard all of that
        assert browser.post("machines/" + "a" * 1_000_000 + "/start").status == 400
    assert browser.get("list").status == 200


def test_all_is_described(browser: Browser) -> None:
    document = browser.get("openapi.json").value
    assert document == json.loads(json.dumps(describe()))
    validate(document)
    names = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    }
    assert names == {f"verbs.{each.name}" for each in HOST} | {
        f"commands.{each.name}" for each in MACHINE
    }
    start = document["paths"]["/api/machines/{domain}/start"]["post"]
    paused = start["requestBody"]["content"]["application/json"]["schema"]["properties"]["paused"]
    assert paused == {"type": "boolean", "default": False, "description": "with its CPUs stopped"}


def test_a_machine_is_installed(homes: Homes, browser: Browser) -> None:
    boot, disk = f"kernel={homes.idle}", homes.folder / "new.qcow2"
    values = {"name": "crab", "boot": boot, "graphics": "vnc", "memory": 64, "arch": "riscv64"}
    known = browser.post("install", **values, disk=[f"path={disk},size=1"], network=["none"])
    assert known.value["state"] == "running"
    definition = homes.machines.definition("crab")
    assert images.information(str(disk), shared=True).size == 1 << 30
    assert (definition.nics, definition.screen) == ((), ScreenPart())
    for more, why in (({}, "install method"), ({"boot": boot, "arch": "vax"}, "no machine vax")):
        reply = browser.post("install", name="whale", **more)
        assert reply.status == 400
        assert why in reply.value["title"]


def test_a_document_is_no_path(homes: Homes, browser: Browser) -> None:
    path = Path(homes.file("crab"))
    assert browser.post("define", file=str(path)).status == 422
    assert browser.post("create", file=path.read_text()).value["persistent"] is False
