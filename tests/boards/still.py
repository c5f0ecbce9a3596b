"""Boards that are powered on and stand still, and the trees that their guests would find."""

from __future__ import annotations

import re
import struct
import subprocess
from typing import Any

from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.machine.machine import Machine
from tests.host import need

__all__ = ["Board", "properties"]

LIST = re.compile(r"(\S+) = (.*);")
REFERENCES = {
    **dict.fromkeys(("interrupt-parent", "msi-parent", "regmap", "cpu", "clocks"), slice(None)),
    "gpios": slice(0, 1),
    "interrupt-map": slice(0),
    "msi-map": slice(1, 2),
    "riscv,children": slice(None),
    **dict.fromkeys(("riscv,delegation", "riscv,delegate"), slice(0, 1)),
    "interrupts-extended": slice(0, None, 2),
}
"""Properties that hold references, and where."""


class Board:
    """A machine that is powered on and does nothing; ``tree_in`` is the register in which its first
    CPU finds the device tree."""

    def __init__(self, name: str, tree_in: str, **options: Any):
        self.accelerator, self._tree_in = ScriptAccelerator(), tree_in
        options = {"kernel_format": "raw", "serial": NoChars(), **options}
        self.vm = Machine(name, accel=self.accelerator, **options)
        self.vm.start()
        self.registers = [dict(cpu.registers) for cpu in self.accelerator.cpus]

    def tree(self) -> str:
        """The source of the device tree that is in memory."""
        need("dtc")
        at = self.registers[0][self._tree_in]
        size = struct.unpack(">I", self.vm.memory.read(at + 4, 4))[0]
        blob = self.vm.memory.read(at, size)
        command = ["dtc", "-I", "dtb", "-O", "dts", "-q"]
        return subprocess.run(command, input=blob, capture_output=True, check=True).stdout.decode()


def properties(text: str) -> dict[str, dict[str, str]]:
    """The properties of each node of a device tree source, by path and name; references are
    replaced by the paths of the nodes that they lead to."""
    nodes: dict[str, dict[str, str]] = {}
    path: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.endswith("{"):
            path += [name] if (name := line[:-1].strip().strip("/")) else []
            nodes["/".join(path) or "/"] = {}
        elif line.startswith("}"):
            path = path[:-1]
        elif match := LIST.fullmatch(line):
            nodes["/".join(path) or "/"][match[1]] = match[2]
        elif line.endswith(";") and not line.startswith("/dts"):
            nodes["/".join(path) or "/"][line[:-1]] = ""
    phandles = {p["phandle"]: name for name, p in nodes.items() if "phandle" in p}
    for node in nodes.values():
        for name, positions in REFERENCES.items():
            if name in node:
                words = node[name].strip("<>").split()
                if name == "interrupt-map":  # 16 entries; the reference follows four cells
                    positions = slice(4, None, len(words) // 16)
                for index in range(len(words))[positions]:
                    words[index] = phandles[f"<{words[index]}>"]
                node[name] = " ".join(words)
        node.pop("phandle", None)
    return nodes
