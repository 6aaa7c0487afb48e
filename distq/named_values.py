"""Options that give a model's inputs something, by name: ``NAME=1,3,640,640``, ``NAME=16000``, ``IN=OUT``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError


def _shapes(value: object) -> object:
    """Shapes by input, from ``NAME=1,3,640,640``, a list of these, or a mapping of names to sizes."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        return tuple((name, _sizes(sizes)) for name, sizes in value.items())
    if isinstance(value, list | tuple):
        return tuple(_shape(one) if isinstance(one, str) else one for one in value)
    return value


def _shape(text: str) -> tuple[str, object]:
    name, equals, sizes = text.rpartition("=")
    if not equals or not name.strip():
        raise PydanticCustomError("input_shape", "Give NAME=1,3,640,640, with the name of a model input")
    return name.strip(), _sizes(sizes)


def _sizes(sizes: object) -> object:
    return tuple(part.strip() for part in sizes.split(",")) if isinstance(sizes, str) else sizes


InputShapes = Annotated[
    tuple[tuple[str, tuple[Annotated[int, Field(ge=1)], ...]], ...], BeforeValidator(_shapes)
]
"""Shapes of model inputs by name; as text ``NAME=1,3,640,640``."""


def _pairs(value: object, words: str) -> object:
    """Pairs of an input and what it is given, from ``NAME=VALUE``, a list of these, or a mapping.

    ``words`` say how one is written.
    """
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list | tuple):
        return tuple(_pair(one, words) if isinstance(one, str) else one for one in value)
    return value


def _pair(text: str, words: str) -> tuple[str, str]:
    before, equals, behind = (part.strip() for part in text.partition("="))
    if not (before and equals and behind):
        raise PydanticCustomError("pair", "Give {words}", {"words": words})
    return before, behind


_STATE = "IN=OUT, with the names of a model input and output"
StatePairs = Annotated[tuple[tuple[str, str], ...], BeforeValidator(partial(_pairs, words=_STATE))]
"""State inputs of a recurrent model, each with the output that gives its next value; as text ``IN=OUT``."""

_VALUE = "NAME=NUMBER, with the name of a model input"
InputValues = Annotated[tuple[tuple[str, float], ...], BeforeValidator(partial(_pairs, words=_VALUE))]
"""The one value that model inputs have, by name; as text ``NAME=16000``."""
