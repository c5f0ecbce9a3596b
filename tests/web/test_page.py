"""The page in a real browser: what a person sees, clicks and types."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal import images
from bimetal.web.page import page_is_there
from bimetal.web.serving import Site
from tests.boot.conftest import Fetch
from tests.control.homes import Homes
from tests.host import programs
from tests.web.chromium import Chromium
from tools.web import build

pytestmark = programs("chromium", "npm")

BOOT = 300
"""Seconds for a guest to come up, on a slow and busy host."""

STATE = "document.querySelector('.machine .state')?.textContent.trim()"
TEXT = "document.body.innerText"
TERMINAL = "document.querySelector('.xterm-rows')?.innerText"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser for all tests; each has a page of another origin."""
    if not page_is_there():
        build()
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def person(chromium: Chromium, site: Site) -> Iterator[Chromium]:
    """Somebody who has followed the link. The page has nothing to complain of at the end."""
    chromium.said.clear()
    chromium.look(1280, 800)
    chromium.open(site.link)
    chromium.until("document.querySelector('aside nav')")
    yield chromium
    assert chromium.said == []


def test_a_life_on_the_page(person: Chromium, homes: Homes) -> None:
    person.run("document.querySelector('[aria-label=\"New machine\"]').click()")
    person.until("document.querySelector('select[name=arch]')?.options.length > 2")
    person.choose("select[name=start]", "kernel")
    person.until("document.querySelector('input[name=kernel]')")
    person.choose("select[name=arch]", "riscv64")
    person.fill("input[name=name]", "Kräbbe")
    person.fill("input[name=kernel]", str(homes.echo))
    person.run("document.querySelector('input[name=memory]').select()")
    person.type("16")
    person.press("Enter")
    person.until(f"{STATE} === 'running'")
    assert homes.machines.definition("Kräbbe").screen is not None
    person.until("document.querySelectorAll('.graph').length === 4")
    person.click("Console")
    person.until("document.activeElement.className.includes('xterm-helper')")
    for key in "hi":
        person.press(key)
    person.until(f"{TERMINAL}.includes('hi')")
    person.click("Pause")
    person.until(f"{STATE} === 'paused'")
    person.click("Resume")
    person.until(f"{STATE} === 'running'")
    person.click("Force off")
    person.until("document.querySelector('dialog[open]')")
    person.press("Escape")
    person.until("!document.querySelector('dialog[open]')")
    assert homes.machines.find("Kräbbe").state == "running", "Escape means no"
    person.run("[...document.querySelectorAll('button')].at(-1).blur()")
    person.click("Force off")
    person.until("document.querySelector('dialog[open] .danger')")
    person.run("document.querySelector('dialog[open] .danger').click()")
    person.until(f"{STATE} === 'shut off'")
    assert homes.machines.find("Kräbbe").reason == "destroyed"
    person.click("Start")
    person.until(f"{STATE} === 'running'")


def test_who_has_no_token_sees_nothing(chromium: Chromium, site: Site, homes: Homes) -> None:
    homes.machines.define(homes.text("secret-machine"))
    chromium.open(site.address)
    chromium.until("document.querySelector('.login')")
    assert "secret-machine" not in chromium.run(TEXT)
    chromium.fill(".login input", "wrong")
    chromium.press("Enter")
    chromium.until("document.querySelector('.login')")
    chromium.run("document.querySelector('.login input').select()")
    chromium.type(site.link)
    chromium.press("Enter")
    chromium.until(f"{TEXT}.includes('secret-machine')")
    assert site.token not in chromium.run("location.href")


@pytest.mark.slow
def test_a_screen_and_snapshots(person: Chromium, site: Site, homes: Homes) -> None:
    disk = homes.folder / "disk.qcow2"
    images.create(str(disk), 1 << 20, format="qcow2")
    devices = (
        "<graphics type='vnc'><listen type='none'/></graphics><video><model type='ramfb'/></video>"
        f"<disk type='file'><driver type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
    )
    homes.machines.define(homes.text("whale", devices=devices))
    homes.machines.start("whale")
    person.open(f"{site.address}#/whale/screen")
    person.until("document.querySelector('.vnc canvas')?.width === 640")
    person.click("Ctrl Alt Del")
    person.click("Snapshots")
    person.fill(".snapshots input", "before")
    person.press("Enter")
    person.until("document.querySelector('.cards strong')?.textContent === 'before'")
    assert [each["name"] for each in homes.machines.ask("whale", "bimetal-snapshots")] == ["before"]
    for what, left in (("Revert", 1), ("Delete", 0)):
        person.click(what)
        person.until("document.querySelector('dialog[open] .danger')")
        person.run("document.querySelector('dialog[open] .danger').click()")
        person.until(f"document.querySelectorAll('.cards li').length === {left}")
        person.until("!document.querySelector('dialog[open]')")
    person.click("Disks")
    person.until(f"{TEXT}.includes({str(disk)!r})")


@pytest.mark.slow
def test_why_it_is_slow(person: Chromium, site: Site, homes: Homes) -> None:
    """A machine that asks its serial port again and again is told to do so less often."""
    homes.machines.define(homes.text("echo", homes.echo))
    homes.machines.start("echo")
    person.open(f"{site.address}#/echo")
    person.click("Why is it slow?")
    person.until("document.querySelector('.slow .cards')?.innerText.includes('uart')")


@pytest.mark.slow
def test_by_keyboard(person: Chromium, site: Site, homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    person.until("document.querySelector('nav a')")
    person.run("document.querySelector('.home').focus()")
    person.press("Tab")
    person.press("Tab")
    person.press("Enter")
    person.until(f"{STATE} === 'shut off'")
    person.run("document.querySelector('[role=tab][aria-selected=true]').focus()")
    person.press("ArrowLeft")
    person.until("location.hash === '#/crab/definition'")
    person.until("document.querySelector('textarea')?.value.includes('<name>crab</name>')")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone(person: Chromium, homes: Homes, tmp_path: Path, dark: bool) -> None:
    homes.machines.define(homes.text("a-name-that-is-rather-long-" * 3))
    person.look(360, 740, dark=dark)
    person.until("document.querySelector('nav a')")
    assert person.run("document.documentElement.scrollWidth") <= 360
    person.run("document.querySelector('nav a').click()")
    person.until(f"{STATE} === 'shut off'")
    assert person.run("document.documentElement.scrollWidth") <= 360
    red = person.run("+getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
    assert (red < 0x40) == dark
    assert person.picture().startswith(b"\x89PNG")


@pytest.mark.boot
@pytest.mark.slow
def test_an_installation(
    person: Chromium, homes: Homes, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's installer, from the form to its first screens, with a disk that takes no room."""
    monkeypatch.setenv("XDG_DATA_HOME", str(homes.folder / "d"))
    debian = fetched("debian-installer-riscv64")
    tree = homes.folder / "installer"
    tree.mkdir()
    (tree / "linux").symlink_to(str(debian.kernel))
    (tree / "initrd.gz").symlink_to(str(debian.initrd))
    person.run("document.querySelector('[aria-label=\"New machine\"]').click()")
    person.until("document.querySelector('select[name=arch]')?.options.length > 2")
    person.choose("select[name=start]", "location")
    person.until("document.querySelector('input[name=location]')")
    person.choose("select[name=arch]", "riscv64")
    person.fill("input[name=name]", "ubuntu-vm")
    person.fill("input[name=location]", str(tree))
    assert person.run("document.querySelector('input[name=size]').value") == "20"
    person.press("Enter")
    person.until(f"{STATE} === 'running'", BOOT)
    disk = homes.machines.definition("ubuntu-vm").disks[0].path
    assert images.information(disk, shared=True).size == 20 << 30
    assert os.stat(disk).st_blocks * 512 < 1 << 20
    person.click("Console")
    person.until("document.activeElement.className.includes('xterm-helper')")
    person.until(f"{TERMINAL}.includes('Select a language')", BOOT)
    person.press("Enter")
    person.until(f"{TERMINAL}.includes('Select your location')", BOOT)
    for name in ("ArrowDown", "Enter"):
        person.press(name)
    person.until(f"{TERMINAL}.includes('Configure the keyboard')", BOOT)
    assert person.picture().startswith(b"\x89PNG")
