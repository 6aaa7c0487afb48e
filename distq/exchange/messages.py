"""Protobuf messages of other tools' tables, from descriptors of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]  # protobuf ships no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # the same

from distq.exchange.text import Content

Message = Any
"""A message of protobuf, which ships no types."""

Fields = Mapping[str, tuple[int, str]]
"""Number and kind of each field; a kind is ``[repeated|required ]TYPE``, a message's type by its name."""

_TYPES = {"double": 1, "float": 2, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13}
_LABELS = {"optional": 1, "required": 2, "repeated": 3}


def message_classes(package: str, messages: Mapping[str, Fields]) -> dict[str, Any]:
    """Classes of proto2 messages.

    Args:
        package: a name apart from all others.
        messages: fields of each message, by its name.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label, _, type_name = kind.rpartition(" ")
            added = message.field.add(name=field, number=number, label=_LABELS[label or "optional"])
            if type_name in _TYPES:
                added.type = _TYPES[type_name]
            else:
                added.type, added.type_name = 11, f".{package}.{type_name}"
    return classes_of(file)


def classes_of(file: Message) -> dict[str, Any]:
    """Classes of the messages that a FileDescriptorProto describes, by their names."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{file.package}.{message.name}")
        )
        for message in file.message_type
    }


def parse_binary(content: Content, message: Message) -> Message:
    """Fill a message from bytes.

    Raises:
        FileFormatError: they are cut off, or not of it.
    """
    try:
        message.ParseFromString(content.data)
    except DecodeError:
        content.fail("is cut off, or no message of this kind")
    return message


def parse_text(content: Content, message: Message) -> Message:
    """Fill a message from protobuf's text form.

    Raises:
        FileFormatError: it is none, with the line.
    """
    if content.text is None:
        content.fail("is not text")
    try:
        text_format.Parse(content.text, message)
    except text_format.ParseError as error:
        reason = str(error).split(" : ", 1)[-1].split("\n")[0]
        content.fail(reason, error.GetLine())
    except (ValueError, RecursionError, EncodeError) as error:
        content.fail(str(error).split("\n")[0])
    return message


def text_of(message: Message) -> bytes:
    """Protobuf's text form, as protobuf writes it."""
    text: str = text_format.MessageToString(message, as_utf8=True)
    return text.encode()
