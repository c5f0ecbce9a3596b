"""A host with an apt of its own: a few packages, and programs that stand in for apt's."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bimetal.catalogue import apt
from tests.catalogue.fake_deb import write_deb
from tests.host import need, program_path

STAND_IN = f"""#!{sys.executable}
import os, pathlib, shutil, sys
host = pathlib.Path({{host!r}})
words = [word for word in sys.argv[1:] if not word.startswith("-")]
if "-o" in sys.argv:
    words.remove(sys.argv[sys.argv.index("-o") + 1])
    status = int(sys.argv[sys.argv.index("-o") + 1].partition("=")[2])
with (host / "calls").open("a") as calls:
    print(pathlib.Path(sys.argv[0]).name, *words, file=calls)
if (host / "broken").exists() and words[0] in ("update", "download"):
    sys.exit((host / "broken").read_text())
match words:
    case ["indextargets", *_]:
        print((host / "targets").read_text(), end="")
    case ["update"]:
        os.write(status, b"dlstatus:1:50.0:half\\nnonsense\\n")
    case ["download", *names]:
        for name in names:
            package, version = name.split("=")
            (file,) = (host / "pool").glob(f"{{{{package}}}}_{{{{version}}}}_*.deb")
            shutil.copy(file, ".")
    case ["show", *names]:
        for name in names:
            record = host / "records" / name
            print(record.read_text() if record.exists() else "")
"""


@dataclass
class FakeHost:
    """The stand-ins' side: what the mirror has, what was called."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def add(
        self, name: str, version: str, files: dict[str, bytes], depends: Sequence[str] = ()
    ) -> None:
        """Have the mirror offer a package; a newer version takes the older one's place."""
        (self.folder / "pool").mkdir(exist_ok=True)
        (self.folder / "records").mkdir(exist_ok=True)
        for old in (self.folder / "pool").glob(f"{name}_*"):
            old.unlink()
        write_deb(self.folder / "pool" / f"{name}_{version}_riscv64.deb", name, version, files)
        record = f"Package: {name}\nVersion: {version}\nArchitecture: riscv64\n"
        if depends:
            record += f"Depends: {', '.join(depends)}\n"
        (self.folder / "records" / name).write_text(record + "Description: x\n Depends: no\n")

    def targets(self, *rows: str) -> None:
        """What ``apt-get indextargets`` answers."""
        (self.folder / "targets").write_text("".join(f"{row}\n" for row in rows))

    def fail(self, message: str) -> None:
        """Have fetching fail, and apt-get say so."""
        (self.folder / "broken").write_text(message)

    def calls(self) -> list[str]:
        """The commands run so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host whose apt is set to a mirror of Debian, with an empty cache."""
    folder = tmp_path / "host"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("apt-get", "apt-cache"):
        script = programs / name
        script.write_text(STAND_IN.format(host=str(folder)))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    need("dpkg-deb")
    for name in ("dpkg-deb", "tar", "xz", "rm"):  # the first runs the others
        if os.path.isabs(found := program_path(name)):
            (programs / name).symlink_to(found)
    keyring = folder / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(apt, "KEYRINGS", (keyring,))
    monkeypatch.delenv(apt.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", os.fspath(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    fake = FakeHost(folder)
    fake.targets("http://mirror.example/debian/|bookworm|Debian|Debian")
    return fake
