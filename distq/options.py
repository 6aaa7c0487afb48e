"""Options made from values of the command line, a job file or Python, with errors of one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from distq.errors import UsageError

Options = TypeVar("Options", bound=BaseModel)

POSITIONAL = ("model", "candidate")
"""Options that the command line takes by position."""

RESERVED = {"tries": "try"}
"""Options that users know by a word which Python keeps for itself."""

_PATTERNS = {
    "device": "cpu, auto, cuda or cuda:N",
    "goal": "sqnr:DECIBELS, top1:POINTS, top5:POINTS, map:POINTS, shared:SHARE, lines:SHARE or "
    "score:N, such as sqnr:30, top1:-0.5 or shared:0.95",
    "time": "a number of seconds, or one with s, m or h behind it, such as 30m",
    "input_value": "NAME=NUMBER, with the name of a model input",
    "input_shape": "NAME=1,3,640,640, with the name of a model input and whole numbers from 1",
}
"""What a regular expression or the type of a part says, for a person."""

_LONGEST_VALUE = 60


def on_command_line(name: str) -> str:
    """How the command line spells an option: ``tune_samples`` is ``--tune-samples``."""
    return name.upper() if name in POSITIONAL else "--" + RESERVED.get(name, name).replace("_", "-")


def make_options(
    kind: type[Options], values: Mapping[str, object], spell: Callable[[str], str] = str
) -> Options:
    """Check values and make the options of a job from them.

    Args:
        kind: One of distq.config's classes.
        values: Option names with underscores, and their values.
        spell: How the user spelled an option's name; the error uses it.

    Raises:
        UsageError: an option is unknown, missing, given twice or has a value it cannot have; the message
            names it and what it takes.
    """
    try:
        return kind.model_validate(switched(kind, values))
    except ValidationError as error:
        raise UsageError(_first_line(kind, error, values, spell)) from None


def switches(kind: type[BaseModel]) -> dict[str, str]:
    """Options that are on or off, by the name that turns them off: ``no_equalize`` is ``equalize``."""
    fields = kind.model_fields
    plain = [name for name, field in fields.items() if field.annotation in {bool, bool | None}]
    return {f"no_{name}": name for name in plain}


def switched(kind: type[BaseModel], values: Mapping[str, object]) -> dict[str, object]:
    """The values with ``no_equalize: true``, which is the command line's flag, as ``equalize: false``.

    Raises:
        UsageError: a switch is given by both names, or is neither true nor false.
    """
    result, names = dict(values), switches(kind)
    for name in [name for name in values if name in names]:
        value, plain = result.pop(name), names[name]
        if plain in values:
            raise UsageError(f"{name} and {plain} are one option: leave out one")
        if not isinstance(value, bool):
            raise UsageError(f"{name} is true or false, not {value!r}")
        result[plain] = not value
    return result


def unknown_name(name: str, allowed: Mapping[str, object], what: str = "option") -> str:
    """One line for a name that is not among the allowed: the nearest ones if any is near, else all."""
    near = get_close_matches(name.replace("-", "_"), allowed, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(sorted(allowed))}"
    return f"unknown {what} {name}: {remedy}"


def _first_line(
    kind: type[BaseModel],
    error: ValidationError,
    values: Mapping[str, object],
    spell: Callable[[str], str],
) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return unknown_name(name, kind.model_fields)
    if first["type"] == "missing":
        return f"{spell(name)} is missing: give one"
    message = "give one path" if first["type"] == "path_type" else first["msg"].removeprefix("Value error, ")
    if (first["type"] == "string_pattern_mismatch" or len(first["loc"]) > 1) and name in _PATTERNS:
        message = f"input should be {_PATTERNS[name]}"
    given = values.get(name, first["input"])  # all of it, where what is wrong is a part
    return f"{spell(name)} {_shorten(given)}: {message[0].lower()}{message[1:]}"


def _shorten(value: Any) -> str:  # noqa: ANN401  # whatever the user gave
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = " ".join(value)  # an option that can be given again
    if isinstance(value, Path):
        value = str(value)
    text = value if isinstance(value, str) and value.strip() else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
