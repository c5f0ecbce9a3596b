"""Commands: each is a typed function, and everything that is said of it follows from that.

    machine = Registry[Subject]("machine")

    @machine.command("balloon")
    def balloon(vm: Subject, value: Annotated[int, "bytes to leave to the guest"]) -> None:
        '''Ask the guest to get along with less memory. ...'''

The first parameter is what the command acts on, the others are its arguments: their names, with
hyphens for underscores, types, defaults, and, as strings in `Annotated`, what they mean. The first
sentence of the docstring is the summary. The types are not looked at before a command is used, so
that a table of many commands costs little to import.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, get_type_hints

from bimetal.base.errors import ExitCode
from bimetal.base.near import did_you_mean
from bimetal.control.failures import CommandFailed, ErrorClass

__all__ = ["Command", "Parameter", "Registry"]

Subject = TypeVar("Subject")
Function = TypeVar("Function", bound=Callable[..., Any])

NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """An argument of a command: ``name`` is that of the Python parameter, ``help`` says what it
    means. ``type`` is a type, with what belongs to it in `Annotated`."""

    name: str
    type: Any
    default: Any = NO_DEFAULT
    help: str = ""
    hyphens: bool = True
    """Whether its name has hyphens for underscores outside of Python."""

    @property
    def external(self) -> str:
        """Its name outside of Python."""
        name = self.name.rstrip("_")
        return name.replace("_", "-") if self.hyphens else name

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is NO_DEFAULT


@dataclass(frozen=True)
class Command:
    """The command ``name``, which is ``function``. ``out_of_band`` ones wait for nothing, so a
    client may have them carried out before others that it has sent earlier. ``safe`` ones only
    look (RFC 9110, 9.2.1)."""

    name: str
    function: Callable[..., Any]
    out_of_band: bool = False
    safe: bool = False
    features: tuple[str, ...] = ()
    """What clients may want to know of it before they use it, in QEMU's words."""
    hyphens: bool = True
    """See `Parameter.hyphens`: a few of QEMU's oldest commands have underscores."""
    kinds: str = ""
    """The argument by which kinds of what it is about are told apart, which clients look for one by
    one: a tag, in the words of QEMU's schema."""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The arguments, in the order in which they are declared."""
        hints = get_type_hints(self.function, include_extras=True)
        _, *arguments = inspect.signature(self.function).parameters.values()
        return tuple(
            Parameter(
                each.name, hints[each.name], each.default, _help_of(hints[each.name]), self.hyphens
            )
            for each in arguments
        )

    @cached_property
    def result(self) -> Any:
        """The type of what it returns."""
        return get_type_hints(self.function, include_extras=True)["return"]

    @property
    def help(self) -> str:
        """What it does, in full."""
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return " ".join(self.help.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


class Registry(Generic[Subject]):
    """The commands that act on one kind of subject, by name; ``what`` that is, in a word."""

    def __init__(self, what: str):
        self.what = what
        self._commands: dict[str, Command] = {}

    def command(
        self,
        name: str,
        *,
        out_of_band: bool = False,
        safe: bool = False,
        features: tuple[str, ...] = (),
        hyphens: bool = True,
        kinds: str = "",
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as the command ``name``. ValueError if there is one."""

        def declare(function: Function) -> Function:
            if name in self._commands:
                raise ValueError(f"two commands are called {name}")
            self._commands[name] = Command(
                name, function, out_of_band, safe, features, hyphens, kinds
            )
            return function

        return declare

    def __iter__(self) -> Iterator[Command]:
        return iter(sorted(self._commands.values(), key=lambda command: command.name))

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __getitem__(self, name: str) -> Command:
        """The command of that name. Raises `CommandFailed`, with what may have been meant."""
        command = self._commands.get(name)
        if command is None:
            raise CommandFailed(
                ErrorClass.COMMAND_NOT_FOUND,
                f"there is no command {name[:NAME_SHOWN]!r}",
                did_you_mean(name[:NAME_SHOWN], self._commands),
                ExitCode.USAGE,
            )
        return command

    def call(self, name: str, subject: Subject, arguments: Mapping[str, Any]) -> Any:
        """Carry out a command with arguments by their Python names, whose types are right. Raises
        what the command raises, and `CommandFailed` if there is none of that name."""
        return self[name].function(subject, **arguments)


NAME_SHOWN = 80
"""Characters of a name that somebody made up which an error message repeats."""


def _help_of(hint: Any) -> str:
    """The text in an `Annotated` type."""
    texts = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, str)]
    return " ".join(texts)
