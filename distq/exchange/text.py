"""What the readers of text tables share: lines with their numbers, numbers, and errors that name both."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn, TypeVar

from distq.errors import FileFormatError
from distq.regular import open_regular

LARGEST = 64 << 20
"""Bytes of the largest table: a million tensors in the longest format."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SHOWN = 60
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Content:
    """A file's bytes, and what they are as text or JSON, each made once.

    Attributes:
        where: what messages call the file.
        data: its bytes.
    """

    where: str
    data: bytes

    @cached_property
    def text(self) -> str | None:
        """The text, None where it is none: not UTF-8, or with bytes that no text has."""
        try:
            text = self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text

    @cached_property
    def json(self) -> object:
        """The JSON value, None where it is none; a key that occurs twice is an error."""
        if self.text is None or self.text.lstrip()[:1] not in {"{", "["}:
            return None
        try:
            return json.loads(self.text, object_pairs_hook=self._pairs)
        except json.JSONDecodeError:
            return None
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{self.where} cannot be read as JSON: {error}") from error

    def why_no_json(self) -> str:
        """Where a text that begins as JSON stops to be it; empty where it does not begin so."""
        if self.text is None or self.text.lstrip()[:1] not in {"{", "["} or self.json is not None:
            return ""
        try:
            json.loads(self.text)
        except json.JSONDecodeError as error:
            return f"line {error.lineno}: {error.msg[0].lower()}{error.msg[1:]}"
        return ""

    def _pairs(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            if name in found:
                self.fail(f"{quoted(name)} occurs twice in one object; leave one")
            found[name] = value
        return found

    def lines(self) -> Iterator[tuple[int, str]]:
        """Lines with their numbers from 1; LF and CRLF end one."""
        text = self.text
        if text is None:
            self.fail("is not text")
        for number, line in enumerate(text.split("\n"), 1):
            yield number, line.removesuffix("\r")

    def fail(self, reason: str, line: int | None = None) -> NoReturn:
        """Refuse the file.

        Raises:
            FileFormatError: with the file's name, the line and the reason.
        """
        place = self.where if line is None else f"{self.where}, line {line}"
        raise FileFormatError(f"{place}: {reason}")

    def number(self, text: object, what: str, line: int | None = None) -> float:
        """A finite number of a text or of JSON.

        Raises:
            FileFormatError: it is none.
        """
        if isinstance(text, str) and _NUMBER.fullmatch(text):
            value = float(text)
        elif isinstance(text, int | float) and not isinstance(text, bool):
            try:
                value = float(text)
            except OverflowError:
                value = math.inf
        else:
            self.fail(f"{what} is {quoted(text)}, which is no finite number", line)
        if not math.isfinite(value):
            self.fail(f"{what} is {quoted(text)}, which is no finite number", line)
        return value

    def positive(self, text: object, what: str, line: int | None = None) -> float:
        """A number above 0.

        Raises:
            FileFormatError: it is none.
        """
        value = self.number(text, what, line)
        if value <= 0:
            self.fail(f"{what} is {quoted(text)}; it has to be above 0", line)
        return value

    def integer(self, value: object, what: str, among: range, line: int | None = None) -> int:
        """An integer of a range, also as text or as a number without a fraction.

        Raises:
            FileFormatError: it is none.
        """
        number = self.number(value, what, line)
        if not number.is_integer() or int(number) not in among:
            self.fail(f"{what} is {quoted(value)}; it is from {among[0]} to {among[-1]}", line)
        return int(number)

    def once(self, seen: Mapping[Key, object], name: Key, value: object, line: int | None = None) -> bool:
        """Whether a name is new; one that came before with the same value is passed over.

        Raises:
            FileFormatError: it came before with another value.
        """
        if name not in seen:
            return True
        if seen[name] != value:
            self.fail(f"{quoted(name)} came before with another value; leave one of them", line)
        return False


def load_content(path: Path, what: str = "threshold table") -> Content:
    """A file's bytes.

    Raises:
        FileFormatError: it cannot be read, is empty, or larger than a table is.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}; give a {what}") from error
    if len(data) > LARGEST:
        raise FileFormatError(f"{path} is no {what}, it has over {LARGEST >> 20} MiB: give one")
    if not data.strip():
        raise FileFormatError(f"{path} is empty: give a {what}")
    return Content(str(path), data)


def quoted(value: object) -> str:
    """A value in a message: short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split()) or repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def without(names: list[str]) -> tuple[str, ...]:
    """The warning of tensors whose range is 0, which says nothing; none where there are no such tensors."""
    return (f"tensors without a range, always 0, are passed over: {listed(names, 3)}",) if names else ()


def listed(names: list[str], most: int = 5) -> str:
    """Names in a message: the first few, and how many more."""
    more = len(names) - most
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if more <= 0 else f"{shown} and {more} more"
