"""The small programs by which others start an emulator, in a folder of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import cache_home, data_home
from bimetal.control.emulator.targets import TARGETS

__all__ = ["make_launchers", "usual_folder"]

TEXT = """#!{python} -P
import sys

sys.path.insert(0, {package!r})
from bimetal.control.early import end_by_signals

end_by_signals()
from bimetal.control.emulator.program import main

sys.exit(main({program!r}, sys.argv[1:], cache={cache!r}))
"""


def usual_folder() -> Path:
    """Where they are if nobody says otherwise."""
    return data_home() / "bimetal" / "emulators"


def make_launchers(folder: Path) -> list[Path]:
    """Write them, in place of older ones: who remembers what an emulator can do by the time of its
    file asks anew. Raises `BimetalError`."""
    package = str(Path(__file__).resolve().parents[3])
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in TARGETS.values():
            path = folder / target.program
            text = TEXT.format(
                python=sys.executable,
                package=package,
                program=target.program,
                cache=str(cache_home()),
            )
            scratch = folder / f".{target.program}.{os.getpid()}"
            scratch.write_text(text)
            scratch.chmod(0o755)
            scratch.replace(path)
            made.append(path)
    except OSError as error:
        raise BimetalError(
            f"the emulators cannot be written to {folder}: {error.strerror}",
            "name a folder that you may write to: bimetal emulators FOLDER",
            ExitCode.IO_ERROR,
        ) from error
    return made
