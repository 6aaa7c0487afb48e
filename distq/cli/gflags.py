"""Flags as gflags takes them, for commands whose users bring a command line of a Caffe tool."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


class GflagsCommand(TyperCommand):
    """A command whose flags may have one dash, a switch a value (``--gray=false``), or ``no`` before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # Typer's own Context
        """Spell the flags as Typer takes them."""
        switches = {}
        names = set()
        for parameter in self.params:
            for option in (o for o in parameter.opts if o.startswith("--")):
                names.add(option[2:])
                switches[option[2:]] = bool(getattr(parameter, "is_flag", False))
        spelled = [each for argument in args for each in _spelled(argument, names, switches)]
        return super().parse_args(ctx, spelled)


def _spelled(argument: str, names: set[str], switches: dict[str, bool]) -> list[str]:
    """One argument, or none for a switch that is off."""
    name, equals, value = argument.lstrip("-").partition("=")
    if not argument.startswith("-"):
        return [argument]
    if name.removeprefix("no") in switches and name not in names and switches[name.removeprefix("no")]:
        return []
    if name not in names:
        return [argument]
    if switches[name] and equals:
        if value.lower() in _FALSE:
            return []
        return [f"--{name}"] if value.lower() in _TRUE else [argument]
    return [f"--{name}{equals}{value}"]
