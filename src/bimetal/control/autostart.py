"""Machines that start with the host, or when their user logs in: by units for systemd.

One template (systemd.unit(5)) serves all machines, which are its instances: whether a machine
starts is a link in a folder, as ``systemctl enable`` makes it. When the host goes down, the state
of a machine is saved, and its next start goes on with it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import config_home
from bimetal.control.places import write_whole

__all__ = ["Units", "escaped"]

TEMPLATE = "bimetal@.service"
SYSTEM = Path("/etc/systemd/system")
HANDED_ON = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "PYTHONPATH")
"""Variables that say where the machines, and this program, are."""

TEXT = """# Written by 'bimetal autostart', anew each time.
[Unit]
Description=Virtual machine %I
Documentation=man:systemd.unit(5)
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=none
{environment}ExecStart={program} start %I
ExecStop=-{program} managedsave %I
TimeoutStopSec=300

[Install]
WantedBy={target}
"""


class Units:
    """The units of this user; of the host for root, unless root's definitions lie elsewhere."""

    def __init__(self) -> None:
        of_host = os.getuid() == 0 and not os.environ.get("XDG_CONFIG_HOME")
        self.folder = SYSTEM if of_host else config_home() / "systemd" / "user"
        self._target = "multi-user.target" if of_host else "default.target"

    def starts(self, name: str) -> bool:
        """Whether the machine called so starts by itself."""
        return os.path.islink(self._link(name))

    def enable(self, name: str) -> None:
        """Have it start by itself. Raises `BimetalError`."""
        link = self._link(name)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / TEMPLATE, self._text())
            with suppress(FileExistsError):
                link.symlink_to(self.folder / TEMPLATE)
        except OSError as error:
            raise _failed(link, error) from error

    def disable(self, name: str) -> None:
        """Have it start by itself no more."""
        try:
            self._link(name).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(self._link(name), error) from error

    def _link(self, name: str) -> Path:
        instance = TEMPLATE.replace("@", f"@{escaped(name)}")
        return self.folder / f"{self._target}.wants" / instance

    def _text(self) -> str:
        given = [(name, os.environ[name]) for name in HANDED_ON if os.environ.get(name)]
        lines = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in given]
        program = f"{_quoted(sys.executable)} -P -m bimetal"
        return TEXT.format(environment="".join(lines), program=program, target=self._target)


def escaped(name: str) -> str:
    """A name as part of that of a unit (systemd.unit(5), "String escaping for inclusion in unit
    names")."""
    told = re.sub(
        r"[^a-zA-Z0-9:_.]",
        lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()),
        name,
    )
    return f"\\x2e{told[1:]}" if told.startswith(".") else told


def _quoted(word: str) -> str:
    """A word of a command line in a unit, where % and $ mean something too."""
    return shlex.quote(word.replace("\\", "\\\\")).replace("%", "%%").replace("$", "$$")


def _failed(path: Path, error: OSError) -> BimetalError:
    return BimetalError(
        f"{path} cannot be written: {error.strerror}",
        "correct the permissions of its folder",
        ExitCode.IO_ERROR,
    )
