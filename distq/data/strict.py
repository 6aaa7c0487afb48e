"""Models of a user's file: an unknown key is an error that names the allowed ones, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class StrictModel(BaseModel):
    """A frozen model that answers an unknown key with the nearest allowed one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: object) -> object:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise ValueError(unknown("key", key, cls.model_fields))
        return value


def unknown(what: str, word: object, allowed: Iterable[str]) -> str:
    """Say that ``word`` is not one of ``allowed``, and which comes nearest."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(word), names, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"unknown {what} {word!r}{hint} allowed: {', '.join(names)}"


def one_line(error: ValidationError) -> str:
    """The first complaint of a pydantic error: where, and what."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "value")
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
