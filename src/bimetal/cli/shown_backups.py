"""What is printed of checkpoints and backups: virsh's lines and columns."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.cli.columns import Given, Shown, table
from bimetal.control.verbs import CheckpointFacts, CheckpointLine, JobFacts

__all__ = ["BACKUPS"]

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def lines_of(lines: Sequence[CheckpointLine], given: Given) -> str:
    if given["tree"]:
        return "".join(f"{line}\n" for line in _tree(lines, ""))
    if given["roots"]:
        lines = [each for each in lines if not each.parent]
    if given["name"]:
        return "".join(f"{each.name}\n" for each in lines)
    rows, heads = [(each.name, each.made) for each in lines], ("Name", "Creation Time")
    if given["parent"]:
        full = [(*row, each.parent) for row, each in zip(rows, lines, strict=True)]
        return table((*heads, "Parent"), full, quiet=given["quiet"])
    return table(heads, rows, quiet=given["quiet"])


def _tree(lines: Sequence[CheckpointLine], parent: str, indent: str = "") -> list[str]:
    """The lines of those that come after one, as virsh draws them."""
    found = list[str]()
    below = [each for each in lines if each.parent == parent]
    for number, each in enumerate(below):
        last = number == len(below) - 1
        found.append(f"{indent}+- {each.name}" if parent else each.name)
        deeper = indent + ("  " if last or not parent else "| ")
        rest = _tree(lines, each.name, deeper)
        found += [f"{deeper}|", *rest] if rest else []
        if not parent:
            found.append("")
    return found


def facts_of(facts: CheckpointFacts, given: Given) -> str:
    values = {
        "Name": facts.name,
        "Domain": facts.domain,
        "Parent": facts.parent or "-",
        "Children": facts.children,
        "Descendants": facts.descendants,
    }
    return "".join(f"{name + ':':15} {value}\n" for name, value in values.items())


def job_of(job: JobFacts, given: Given) -> str:
    kind = "Unbounded" if job.operation else "None"
    lines = [f"{'Job type:':17} {kind:12}"]
    if job.operation:
        lines += [
            f"{'Operation:':17} {job.operation:12}",
            f"{'Time elapsed:':17} {job.elapsed:<12} ms",
            f"{'File processed:':17} {_size(job.processed)}",
            f"{'File remaining:':17} {_size(max(job.total - job.processed, 0))}",
            f"{'File total:':17} {_size(job.total)}",
        ]
    if job.error:
        lines.append(f"{'Error message:':17} {job.error}")
    return "".join(f"{line}\n" for line in lines)


def _size(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.3f} {UNITS[unit]}"


BACKUPS = {
    "backup-begin": Shown(lambda nothing, given: "Backup started\n", {}, True),
    "backup-dumpxml": Shown(lambda text, given: text),
    "checkpoint-create-as": Shown(
        lambda name, given: f"Domain checkpoint {name} created\n", {}, True
    ),
    "checkpoint-delete": Shown(
        lambda name, given: (
            f"Domain checkpoint {name} children deleted\n"
            if given["children_only"]
            else f"Domain checkpoint {name} deleted\n"
        ),
        {},
        True,
    ),
    "checkpoint-dumpxml": Shown(lambda text, given: text),
    "checkpoint-info": Shown(facts_of),
    "checkpoint-list": Shown(
        lines_of,
        {
            "parent": "what came before each, too",
            "roots": "only those before which none came",
            "tree": "as a tree",
            "name": "names alone",
        },
    ),
    "checkpoint-parent": Shown(lambda name, given: f"{name}\n"),
    "domjobabort": Shown(lambda nothing, given: ""),
    "domjobinfo": Shown(job_of),
}
"""For each verb, how its result is printed."""
