"""Options that may be given once."""

from __future__ import annotations

from collections import Counter

import click

__all__ = ["OnceEach"]


class OnceEach(click.Command):
    """A command that refuses two values for an option that has one: the other would be lost."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        order = self._order(ctx, args)
        for parameter, times in Counter(order).items():
            if times > 1 and isinstance(parameter, click.Option) and not _repeats(parameter):
                raise click.UsageError(f"{_names(parameter)} is given {_times(times)}", ctx)
        return super().parse_args(ctx, args)

    def _order(self, ctx: click.Context, args: list[str]) -> list[click.Parameter]:
        """What is given, each as often as it is."""
        try:
            return self.make_parser(ctx).parse_args(list(args))[2]
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # the parser does not always know whose options these are
            raise


def _repeats(option: click.Option) -> bool:
    """Whether it may be said again: a list grows, a switch that is on stays on."""
    return option.multiple or (option.is_flag and not option.secondary_opts)


def _names(option: click.Option) -> str:
    return " or ".join(name for name in (*option.opts, *option.secondary_opts) if "--" in name)


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"
