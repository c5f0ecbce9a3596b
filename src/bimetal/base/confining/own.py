"""Where our own program is: what every process of ours has to read."""

from __future__ import annotations

import os
import sys

__all__ = ["OWN_PROGRAM", "confine_helper", "loader"]

from bimetal.base.confining.landlock import Access, restrict
from bimetal.base.confining.privileges import give_up_new_privileges
from bimetal.base.confining.system_calls import HARMFUL, STARTING_PROGRAMS, forbid

OWN_PROGRAM = tuple(
    dict.fromkeys(
        os.path.abspath(path)
        for path in (sys.prefix, sys.base_prefix, os.path.dirname(__file__) + "/../..", *sys.path)
        if path
    )
)
"""Python, its modules and ours."""

LIBRARIES = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/proc/cpuinfo", "/proc/self", "/sys")
NULL = "/dev/null"


def loader() -> str:
    """The program that loads the libraries of Python; "" if it has none."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if os.path.basename(path).startswith("ld-"):
                return f"/{path}"
    return ""


def confine_helper(*folders: str) -> None:
    """Have this process, which works for a machine and has all of it that it needs, reach no file
    but our own program, and those in ``folders``; and start no other one. Does what can be done
    here: a host without it runs helpers all the same."""
    try:
        give_up_new_privileges()
        restrict(
            {
                **dict.fromkeys((*OWN_PROGRAM, *LIBRARIES), Access.READ),
                NULL: Access.WRITE,
                **dict.fromkeys(folders, Access.FILL),
            }
        )
        forbid((*HARMFUL, *STARTING_PROGRAMS))
    except OSError:
        return
