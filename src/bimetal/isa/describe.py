"""Describing an instruction set: encoding, text and meaning side by side, each said once.

An `Isa` collects what its ``@isa.insn(...)`` decorators describe. Decoder, encoder, assembler,
disassembler, reference, interpreter and translator are all executions of these descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Literal

from msgspec import Struct, field

from ..base.late import late
from ..ir.function import function_of
from ..ir.value import Block, Value, const, field_of, tracing
from .decoding import USUAL, DecodeMode, Decoding, Landing, Scan, whole_words
from .pattern import Pattern
from .state import StateSpec
from .text import Kind, Template
from .trace import Cpu, NeedPin, Routine

__all__ = ["Decoded", "Insn", "Isa", "View"]

MAX_VARIANTS = 256
MAX_WORDS = 1 << 16
"""Results of scans that are cached."""


class Insn(Struct, eq=False):
    """One described instruction.

    ``where`` says which field values belong to it, if another encoding is a special case of this
    one or some values are reserved; it is called with the fields by name, as integers or symbolic
    values. A ``restartable`` instruction may repeat after a fault what it did before it.
    """

    name: str
    pattern: Pattern
    template: Template
    meaning: Callable[..., None]
    where: Callable[..., Value | bool] | None
    extension: str
    isa: Isa
    restartable: bool = False
    _variants: dict[tuple[tuple[str, int], ...], Block] | None = None
    _traced: dict[tuple[int, ...], Block | str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Its length in bytes; the maximum, if the encoding has a field ``length``."""
        return min(self.pattern.width // 8, self.isa.fetch)

    def admits(self, fields: Mapping[str, int]) -> bool:
        """Whether these field values are this instruction."""
        return self.where is None or bool(self.where(**fields))

    def trace(self, fixed: Mapping[str, int]) -> Block:
        """The operations with some fields fixed. Raises `NeedPin` if another has to be fixed."""
        block = Block()
        with tracing(block):
            fields = {
                name: const(fixed[name], width) if name in fixed else field_of(name, width)
                for name, width in self.pattern.widths.items()
            }
            length = fields.pop("length", self.length)
            self.meaning(Cpu(self.isa.state, length), **fields)
        return block

    def variants(self) -> dict[tuple[tuple[str, int], ...], Block]:
        """A trace for each combination of values of the fields that the description pins, as far
        as ``where`` admits them."""
        if self._variants is None:
            found: dict[tuple[tuple[str, int], ...], Block] = {}
            self._trace_variants({}, found)
            self._variants = found  # assigned at once: other threads see all variants or none
        return self._variants

    def variant(self, fields: Mapping[str, int]) -> Block:
        """The trace for these field values; no other variants are traced for it."""
        fixed: dict[str, int] = {}
        while True:
            key = tuple(fixed.values())  # which fields they are of follows from the earlier ones
            traced = self._traced.get(key)
            if traced is None:
                try:
                    traced = self.trace(fixed)
                except NeedPin as need:
                    traced = need.name
                self._traced[key] = traced
            if isinstance(traced, Block):
                return traced
            fixed[traced] = fields[traced]

    def _excluded(self, fixed: Mapping[str, int]) -> bool:
        """Whether ``where`` refuses these field values, whatever the other fields are."""
        if self.where is None:
            return False
        with tracing(Block()):
            admitted = self.where(
                **{
                    name: const(fixed[name], width) if name in fixed else field_of(name, width)
                    for name, width in self.pattern.widths.items()
                }
            )
        if isinstance(admitted, Value):
            return admitted.known and int(admitted) == 0
        return not admitted

    def _trace_variants(
        self, fixed: dict[str, int], found: dict[tuple[tuple[str, int], ...], Block]
    ) -> None:
        if self._excluded(fixed):
            return
        try:
            block = self.trace(fixed)
        except NeedPin as need:
            for value in range(1 << need.width):
                self._trace_variants({**fixed, need.name: value}, found)
            return
        found[tuple(sorted(fixed.items()))] = block
        if len(found) > MAX_VARIANTS:
            raise ValueError(f"{self.name} pins fields into more than {MAX_VARIANTS} handlers")


class Decoded(Struct, frozen=True):
    """An instruction word that has been recognised."""

    insn: Insn
    fields: dict[str, int]

    @property
    def length(self) -> int:
        """Bytes."""
        return self.fields.get("length", self.insn.length)

    def text(self, pc: int = 0) -> str:
        """The assembly text at address ``pc``."""
        return self.insn.template.show(self.fields, self.insn.pattern.widths, pc)


class View(Struct, frozen=True):
    """A register of the manual that is not stored as such: ``read`` composes it from others, and
    ``write`` takes a value apart. ``write`` is None if it is read-only."""

    read: Routine
    write: Routine | None


class Isa(Struct, eq=False):
    """An instruction set: its state, operand kinds, instructions and routines.

    ``granule`` is the alignment of instructions in bytes; ``fetch`` the bytes of the longest one.
    ``scan`` makes words of them, in each of the decode ``modes`` (`decoding`); ``unscan`` gives the
    bytes back for a word. Without them, instructions are words of ``fetch`` bytes in one byte
    ``order``; rows number bits as ``msb0`` says (`pattern`). Models may lack ``features``:
    extensions, whose instructions are undefined there. Decoded operands may take ``operands``
    bytes. Where code is ``coherent``, a vCPU's own stores to it take effect at its next
    instruction; elsewhere, behind the fence that the ISA has for it. With a ``landing`` there are
    guarded pages, which have decode modes of their own. ``relocated`` says which fields of an
    instruction may be addresses that its loader changes each time, by the offsets of their bytes,
    of which the lowest is first: translated code serves all of them.

    ``views`` are registers for people that are made of the stored ones. ``hooks`` holds what
    `routine` has described so far, among it what the engine calls by name (`contract`). The modules
    of the packages ``chapters`` describe instructions: they are imported when `insns` or `routines`
    are first asked for, which a machine whose code is all in the store never does.
    """

    name: str
    state: StateSpec
    kinds: Mapping[str, Kind]
    granule: int
    fetch: int
    order: Literal["little", "big"] = "little"
    msb0: bool = False
    scan: Scan | None = None
    unscan: Callable[[int], bytes] | None = None
    modes: tuple[DecodeMode, ...] = (DecodeMode(),)
    features: tuple[str, ...] = ()
    operands: int = 8
    coherent: bool = False
    landing: Landing | None = None
    relocated: Callable[[Decoded], dict[str, int]] = lambda decoded: {}
    chapters: tuple[str, ...] = ()
    hooks: dict[str, Routine] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    _insns: list[Insn] = field(default_factory=list)
    _whole: bool = False
    _by_byte: dict[int, list[Insn]] = field(default_factory=dict)
    _in_order: list[tuple[int, int, Insn]] = field(default_factory=list)
    _byte: int = 0
    _words: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    _scan_function: Callable[..., tuple[int, ...]] | None = None
    _sorted_count: int = 0

    def __post_init__(self) -> None:
        if self.scan is None:
            self.scan = whole_words(self.fetch, self.order)

    def __repr__(self) -> str:
        return f"<Isa {self.name}>"

    @property
    def insns(self) -> list[Insn]:
        """All instructions."""
        self.complete()
        return self._insns

    @property
    def routines(self) -> dict[str, Routine]:
        """Everything that `routine` described, by name."""
        self.complete()
        return self.hooks

    def complete(self) -> None:
        """Import the chapters. Threads may do so at once: each module is executed by one of them,
        and the others wait for it."""
        if self._whole:
            return
        for chapter in self.chapters:
            for module in late("pkgutil:iter_modules")(import_module(chapter).__path__):
                import_module(f"{chapter}.{module.name}")
        self._whole = True

    def insn(
        self,
        row: str,
        text: str,
        *,
        where: Callable[..., Value | bool] | None = None,
        extension: str = "",
        name: str = "",
        restartable: bool = False,
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Describe an instruction: encoding, assembly template, and the decorated meaning."""
        encoding = Pattern(row, self.msb0)

        def register(meaning: Callable[..., None]) -> Callable[..., None]:
            template = Template(text, self.kinds)
            self._insns.append(
                Insn(
                    name or template.mnemonic,
                    encoding,
                    template,
                    meaning,
                    where,
                    extension or meaning.__module__.rsplit(".", 1)[-1],
                    self,
                    restartable,
                )
            )
            return meaning

        return register

    def routine(
        self, returns: int = 0, *, name: str = "", **widths: int
    ) -> Callable[[Callable[..., Value | None]], Routine]:
        """Describe a routine that instructions and the engine call."""

        def register(body: Callable[..., Value | None]) -> Routine:
            routine = Routine(body, self.state, widths, returns, name)
            self.hooks[routine.name] = routine
            return routine

        return register

    def view(
        self,
        name: str,
        width: int,
        read: Callable[[Cpu], Value],
        write: Callable[[Cpu, Value], None] | None = None,
    ) -> None:
        """Describe how a register reads, whatever mode the CPU is in, and what writing it does."""
        writer = Routine(write, self.state, {"value": width}, 0) if write else None
        self.views[name] = View(Routine(read, self.state, {}, width), writer)

    def register_names(self) -> list[str]:
        """The names of all registers that users can access."""
        return list(dict.fromkeys([*self.state.register_names(), *self.views]))

    def meaning(self, name: str) -> Callable[..., None]:
        """What the instruction ``name`` does, for instructions that are defined in terms of it."""
        return next(insn.meaning for insn in self._insns if insn.name == name)

    def ordered(self) -> list[Insn]:
        """Instructions, the most specific encodings first: the order in which to try them."""
        return sorted(
            self.insns,
            key=lambda i: (-i.pattern.mask.bit_count(), i.where is None),
        )

    @property
    def word_bits(self) -> int:
        """Width in bits of the longest word."""
        return max(insn.pattern.width for insn in self.insns)

    def feature(self, insn: Insn) -> int:
        """The bit of the feature that a model needs for an instruction; 0 if all models have it."""
        named = insn.extension in self.features
        return 1 << self.features.index(insn.extension) if named else 0

    def scanned(self, raw: Value, mode: Value) -> tuple[Value, Value]:
        """The result of the scan for bytes in a decode mode: a word of `word_bits` and a length."""
        assert self.scan is not None
        word, length = self.scan(raw, mode)
        return word, length

    def word_of(self, raw: int, mode: int = 0) -> tuple[int, int]:
        """The word and the length in bytes of the instruction whose bytes, first byte lowest, are
        ``raw``; bytes that are not there are zeros."""
        found = self._words.get((raw, mode))
        if found is None:
            if self._scan_function is None:
                self._scan_function = self._compiled_scan()
            word, length = self._scan_function(raw & ((1 << 8 * self.fetch) - 1), mode)
            if len(self._words) >= MAX_WORDS:
                self._words.clear()
            found = self._words[raw, mode] = word, length
        return found

    def _compiled_scan(self) -> Callable[..., tuple[int, ...]]:
        """The scan as a function of Python."""
        block = Block()
        with tracing(block):
            results = self.scanned(field_of("raw", 8 * self.fetch), field_of("mode", 8))
        return function_of(block, ("raw", "mode"), results)

    def _candidates(self, word: int) -> list[Insn]:
        """The instructions that match ``word`` in the indexed byte, most specific first."""
        if self._sorted_count != len(self.insns):
            self._by_byte.clear()
            self._sorted_count = len(self.insns)
            # That which is literal in most encodings.
            literal = [
                sum((insn.pattern.mask >> 8 * n & 0xFF).bit_count() for insn in self.insns)
                for n in range(min(insn.pattern.width for insn in self.insns) // 8)
            ]
            self._byte = at = 8 * literal.index(max(literal))
            self._in_order = [
                (insn.pattern.mask >> at & 0xFF, insn.pattern.match >> at & 0xFF, insn)
                for insn in self.ordered()
            ]
        byte = word >> self._byte & 0xFF
        found = self._by_byte.get(byte)
        if found is None:
            found = [insn for mask, match, insn in self._in_order if byte & mask == match]
            self._by_byte[byte] = found
        return found

    def decode(self, word: int, features: int = -1) -> Decoded | None:
        """Recognise the instruction at the low end of ``word``; None if it is not one, or one that
        a model with these ``features`` lacks."""
        for insn in self._candidates(word):
            pattern = insn.pattern
            if word & pattern.mask != pattern.match or self.feature(insn) & ~features:
                continue
            fields = pattern.decode(word & ((1 << pattern.width) - 1))
            if fields is not None and insn.admits(fields):
                return Decoded(insn, fields)
        return None

    def read(self, code: bytes, decoding: Decoding = USUAL) -> Decoded | None:
        """Recognise the instruction at the start of ``code``; None if it is not one, or if not all
        of it is there."""
        raw = int.from_bytes(code[: self.fetch], "little")
        word, length = self.word_of(raw, decoding.mode)
        return self.decode(word, decoding.features) if length <= len(code) else None

    def assemble(self, text: str, pc: int = 0) -> bytes:
        """The encoding of one instruction at ``pc``. Raises ValueError if ``text`` is not one."""
        for insn in self.insns:
            fields = insn.template.read(text, insn.pattern.widths, pc)
            if fields is not None and insn.admits(insn.pattern.unsigned(fields)):
                try:
                    word = insn.pattern.encode(fields)
                except ValueError:
                    continue
                if self.unscan is not None:
                    return self.unscan(word)
                word &= (1 << 8 * insn.length) - 1
                return word.to_bytes(insn.length, self.order)
        raise ValueError(f"no instruction of {self.name} reads {text!r}")

    def disassemble(
        self, code: bytes, pc: int = 0, mode: int = 0
    ) -> Iterator[tuple[int, bytes, str]]:
        """Address, bytes and text of each instruction in ``code``, in a decode mode."""
        at = 0
        while at < len(code):
            word, length = self.word_of(int.from_bytes(code[at : at + self.fetch], "little"), mode)
            decoded, raw = self.decode(word), code[at : at + length]
            whole = decoded is not None and len(raw) == length
            text = decoded.text(pc + at) if decoded and whole else f".byte {raw.hex(' ')}"
            yield pc + at, raw, text
            at += length
