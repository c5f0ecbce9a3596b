"""The translator's process: jobs in, images of regions out.

It is separate from the machine's process because tracing and LLVM must hold up neither a vCPU nor a
device, and so that nothing a compiler does can take a machine down.

    python -m bimetal.codegen.translator MODULE shared|alone DIGEST DESCRIPTOR
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from ..base import trace
from ..base.clock import processor_seconds
from ..base.collecting import collect_seldom
from ..base.confining.own import confine_helper
from ..base.standard_error import lose_what_it_does_not_take
from ..ir.text import listing
from ..isa.describe import Isa
from ..isa.names import described_in
from .cover import merged
from .discover import Code, discover, heads, places_entered, run_start
from .frames import pack, read_frame
from .identity import OTHER_ENGINE, is_engine
from .job import Compiled, Job
from .layout import Layout
from .native import assembly, compile_region, prepare
from .region import Region, region_text
from .resolve import image_of
from .ways_out import STUBS, stub_name

__all__ = ["main", "translate"]

NICENESS = 5


def translate(isa: Isa, layout: Layout, job: Job) -> Compiled:
    """Translate the part of a page that a job asks for; an empty answer if there is no region."""
    start = processor_seconds()
    region, content = _region(isa, job), b""
    if region.entries:
        stubs = [stub_name(isa, stub) for stub in STUBS]
        text = region_text(layout, job.symbol, region, stubs)
        _show(region, text)
        content = image_of(compile_region(text, region.quick), stubs)
    seconds = processor_seconds() - start
    steps = tuple(sorted(region.steps))
    spans = merged(span for step in region.steps.values() for span in step.depends_on)
    return Compiled(content, region.entries, steps, spans, seconds)


def _region(isa: Isa, job: Job) -> Region:
    """The region for a job, before it is compiled."""
    policy, quick = job.policy, job.level == 1
    code = Code(isa, job.code, job.decoding)

    def executed(offset: int) -> bool:
        return bool(job.executed[offset // isa.granule])

    begin = [run_start(code, executed, jump) for jump in job.jumps]
    wanted = dict.fromkeys((*job.entries, *(start for start in begin if start not in job.there)))
    if quick:
        # Entering another region costs little, and that way nothing is compiled twice.
        others = set(job.there).difference(wanted)
        steps = discover(
            code,
            wanted,
            lambda at: executed(at) and at not in others,
            policy.limit,
            policy.spread,
        )
        entries = sorted(heads(steps, [entry for entry in wanted if entry in steps]))
    else:
        limit = min(policy.limit, policy.optimised_limit)
        steps = discover(code, wanted, executed, limit)
        # An entry cannot be folded into what is before it, as the arm of a branch into a selection.
        often = [entry for entry in wanted if entry not in job.seldom]
        passed = discover(code, often, executed, limit) if job.seldom else {}
        entries = [at for at in wanted if at in steps and (at in often or at not in passed)]
        entries += [place for place in places_entered(steps) if place not in entries]
        entries = entries[: policy.max_entries]
    guarded = isa.modes[job.decoding.mode].guarded
    misaligned = frozenset() if quick else frozenset(job.misaligned) & steps.keys()
    return Region(steps, tuple(entries), quick, policy.exact, guarded, misaligned)


def _show(region: Region, text: str) -> None:
    """Log a region's stages (decode, ir, llvm, asm) as far as traces ask for: see `base.trace`."""
    for offset, step in sorted(region.steps.items()):
        if trace.enabled("decode"):
            print(f"{offset:5x}  {step.decoded.text(offset)}", file=sys.stderr)
        if trace.enabled("ir"):
            print(listing(step.block), file=sys.stderr)
    if trace.enabled("llvm"):
        print(text, file=sys.stderr)
    if trace.enabled("asm"):
        print(assembly(text, region.quick), file=sys.stderr)


def _answer(isa: Isa, layout: Layout, job: Job) -> Compiled:
    """Do a job. A failure is a fault of ours: it is reported, and the guest's code interpreted."""
    try:
        return translate(isa, layout, job)
    except Exception as error:
        print(f"translator: {job.entries} of a page left out: {error!r}", file=sys.stderr)
        return Compiled()


def main(module: str, memory: str, engine: str, answers: str) -> None:
    """Do jobs from standard input until it ends, for a process with the ``engine`` of that digest;
    answers go to an open file descriptor."""
    # A signal to the process group is meant for the machine, which ends this process in order.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    collect_seldom()
    lose_what_it_does_not_take()
    # If processors are scarce, guests come first; a machine that may not say so goes without.
    with suppress(OSError):
        os.nice(NICENESS)
    trace.configure()
    isa = described_in(module).isa
    layout = Layout.of(isa, shared=memory == "shared")
    if not is_engine(isa, layout.shared, engine):
        sys.exit(OTHER_ENGINE)
    confine_helper()
    # What the first job would wait for otherwise.
    isa.decode(isa.word_of(0)[0])
    prepare()
    with suppress(BrokenPipeError), os.fdopen(int(answers), "wb") as pipe:
        while (frame := read_frame(sys.stdin.buffer)) is not None:
            pipe.write(pack(_answer(isa, layout, Job.of(frame)).frame()))
            pipe.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
