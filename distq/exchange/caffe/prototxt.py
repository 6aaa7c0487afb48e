"""Read a prototxt: protobuf's text format, with fields and layers of forks unknown here.

protobuf's own reader drops what it does not know, or stops at it, and keeps no line numbers.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_encoding  # type: ignore[import-untyped]  # protobuf ships no types

from distq.errors import ModelError
from distq.exchange.caffe.schema import Message, enumeration, new_message
from distq.exchange.caffe.weights import decoded
from distq.regular import read_regular

_TOKEN = re.compile(
    r"""(?P<space>[\s,;]+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>:\[\]])
    |(?P<word>[-+\w./@]+)""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_TRUE, _FALSE = frozenset({"true", "t", "1", "True"}), frozenset({"false", "f", "0", "False"})


@dataclass(frozen=True)
class Unknown:
    """A field that :mod:`distq.exchange.caffe.schema` does not have, with the name of what it is in."""

    message: str
    name: str
    line: int


@dataclass(frozen=True)
class Prototxt:
    """A prototxt as read.

    ``net`` is a NetParameter message; ``lines`` has the line that each of its layers begins at, those of
    ``layer`` first and then those of ``layers``; ``unknown`` are the fields that were passed over.
    """

    path: Path
    net: Message
    lines: tuple[int, ...]
    unknown: tuple[Unknown, ...]

    def layers(self) -> list[tuple[Message, int]]:
        """Layers in the file's order, each with its line."""
        layers = (*self.net.layer, *self.net.layers)
        return sorted(zip(layers, self.lines, strict=True), key=lambda pair: pair[1])

    def unknown_in(self, line: int) -> tuple[Unknown, ...]:
        """The unknown fields of the layer that begins at a line."""
        after = min((other for other in self.lines if other > line), default=1 << 31)
        return tuple(u for u in self.unknown if line <= u.line < after)


def read_prototxt(path: Path) -> Prototxt:
    """Read a network's text file.

    Raises:
        ModelError: it cannot be read, or is no protobuf text; the line is named.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise ModelError(f"cannot read the network {path}: {error.strerror}") from error
    return parse_prototxt(decoded(data.removeprefix(codecs.BOM_UTF8)), path)


def parse_prototxt(text: str, path: Path) -> Prototxt:
    """As :func:`read_prototxt`, of a text that is there already; ``path`` is for messages."""
    net, reader = _filled("NetParameter", text, path)
    lines = (*reader.lines["layer"], *reader.lines["layers"])
    return Prototxt(path, net, lines, tuple(reader.unknown))


def read_label_map(path: Path) -> dict[int, str]:
    """Names of classes by number, of the SSD fork's ``label_map_file``.

    Raises:
        ModelError: it cannot be read, or is no label map.
    """
    try:
        text = decoded(read_regular(path))
    except OSError as error:
        raise ModelError(f"cannot read the label map {path}: {error.strerror}") from error
    message, reader = _filled("LabelMap", text, path)
    if reader.unknown or not message.item:
        raise ModelError(f"{path} is no label map of items with name, label and display_name")
    return {item.label: item.display_name or item.name for item in message.item}


def _filled(kind: str, text: str, path: Path) -> tuple[Message, _Reader]:
    reader = _Reader(path, list(_tokens(text, path)))
    message = new_message(kind)
    reader.fill(message, end="")
    return message, reader


def _tokens(text: str, path: Path) -> Iterator[tuple[str, str, int]]:
    """(kind, text, line) of each token, then an end token of kind ``end``."""
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ModelError(
                f"{path}, line {line}: {text[position]!r} is no prototxt; give Caffe's text network"
            )
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group(), line
        line += match.group().count("\n")
        position = match.end()
    yield "end", "", line


@dataclass
class _Reader:
    """Fills messages from tokens."""

    path: Path
    tokens: list[tuple[str, str, int]]
    position: int = 0
    unknown: list[Unknown] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=lambda: {"layer": [], "layers": []})

    def fill(self, message: Message, end: str, depth: int = 0) -> None:
        """Read fields up to the closing mark into a message; None: read them and keep nothing."""
        if depth > 50:
            raise self.error("is nested too deeply")
        while True:
            kind, name, line = self.next()
            if (kind, name) in {("mark", end), ("end", end)}:
                return
            if kind != "word":
                raise self.error(f"{name or 'the end of the file'!r} where a field's name was expected")
            colon = self.accept(":")
            if self.peek() in _CLOSING:
                self._submessage(message, name, line, depth)
            elif not colon:
                raise self.error(f"{name} has no value")
            elif self.accept("["):
                self._list(message, name, line, depth)
            else:
                self._store(message, name, self._value(), line)

    def next(self) -> tuple[str, str, int]:
        token = self.tokens[self.position]
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def peek(self) -> str:
        kind, text, _ = self.tokens[self.position]
        return text if kind == "mark" else ""

    def accept(self, mark: str) -> bool:
        found = self.peek() == mark
        self.position += found
        return found

    def error(self, reason: str) -> ModelError:
        line = self.tokens[max(self.position - 1, 0)][2]
        return ModelError(f"{self.path}, line {line}: {reason}; it is no prototxt that Caffe reads")

    def _submessage(self, message: Message, name: str, line: int, depth: int) -> None:
        closing = _CLOSING[self.next()[1]]
        descriptor = self._descriptor(message, name, line)
        if descriptor is None:
            self.fill(None, closing, depth + 1)
            return
        if descriptor.message_type is None:
            raise self.error(f"{name} is a plain value in Caffe, and a message here")
        if message.DESCRIPTOR.name == "NetParameter" and name in self.lines:
            self.lines[name].append(line)
        target = getattr(message, name)
        if descriptor.is_repeated:
            target = target.add()
        target.SetInParent()
        self.fill(target, closing, depth + 1)

    def _list(self, message: Message, name: str, line: int, depth: int) -> None:
        while not self.accept("]"):
            if self.peek() in _CLOSING:
                self._submessage(message, name, line, depth)
            else:
                self._store(message, name, self._value(), line)

    def _value(self) -> tuple[str, str]:
        """(kind, text) of a scalar; strings side by side are one."""
        kind, text, _ = self.next()
        if kind == "word":
            return kind, text
        if kind != "text":
            raise self.error(f"{text or 'the end of the file'!r} where a value was expected")
        parts = [text[1:-1]]
        while self.tokens[self.position][0] == "text":
            parts.append(self.next()[1][1:-1])
        return kind, _unescaped("".join(parts))

    def _descriptor(self, message: Message, name: str, line: int) -> Message:
        if message is None:
            return None
        descriptor = message.DESCRIPTOR.fields_by_name.get(name)
        if descriptor is None:
            self.unknown.append(Unknown(message.DESCRIPTOR.name, name, line))
        return descriptor

    def _store(self, message: Message, name: str, value: tuple[str, str], line: int) -> None:
        descriptor = self._descriptor(message, name, line)
        if descriptor is None:
            return
        if descriptor.message_type is not None:
            raise self.error(f"{name} is a message in Caffe, and a plain value here")
        try:
            converted = _converted(descriptor, *value)
            if descriptor.is_repeated:
                getattr(message, name).append(converted)
            else:
                setattr(message, name, converted)
        except (ValueError, TypeError) as error:
            raise self.error(f"{name}: {value[1]!r} is no value of it") from error


def _converted(descriptor: Message, kind: str, text: str) -> str | bool | int | float:
    if descriptor.cpp_type == descriptor.CPPTYPE_STRING:
        values = enumeration(descriptor.containing_type.name, descriptor.name)
        if values and kind == "word" and text.isdigit():
            return values[int(text)] if int(text) < len(values) else text
        return text
    if kind == "text":
        raise ValueError("a quoted text")
    if descriptor.cpp_type == descriptor.CPPTYPE_BOOL:
        if text not in _TRUE | _FALSE:
            raise ValueError("neither true nor false")
        return text in _TRUE
    if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT:
        return float(re.sub(r"(?<=[\d.])[fF]$", "", text))
    return int(text, 8) if re.fullmatch(r"-?0[0-7]+", text) else int(text, 0)


def _unescaped(text: str) -> str:
    return str(text_encoding.CUnescape(text).decode("utf-8", "replace"))


def included(source: Prototxt, layer: Message, line: int) -> bool:
    """Whether Caffe has the layer in its TEST phase (BVLC Caffe, net.cpp, FilterNet).

    Raises:
        ModelError: a layer of Caffe's first format.
    """
    if any(unknown.name == "layer" for unknown in source.unknown_in(line)):
        raise ModelError(
            f"{source.path}, line {line}: the file has Caffe's first format (V0): run Caffe's "
            "upgrade_net_proto_text and upgrade_net_proto_binary on it"
        )
    if layer.HasField("phase") and layer.phase != "TEST":
        return False
    state = source.net.state
    if layer.include:
        return any(_meets(rule, state.level, state.stage) for rule in layer.include)
    return not any(_meets(rule, state.level, state.stage) for rule in layer.exclude)


def _meets(rule: Message, level: int, stages: Iterable[str]) -> bool:
    stages = set(stages)
    return bool(
        (not rule.HasField("phase") or rule.phase == "TEST")
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and set(rule.stage) <= stages
        and stages.isdisjoint(rule.not_stage)
    )
