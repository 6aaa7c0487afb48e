"""Layers that a file lists, one name or pattern a line."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from distq.errors import UsageError
from distq.regular import read_regular


def with_listed(names: Iterable[str], known: Collection[str], option: str) -> tuple[str, ...]:
    """Names as a user gave them, a file in the place of what it lists; what is a layer's name is no file.

    Args:
        names: of layers, patterns, or files.
        known: names of layers.
        option: the errors name it.

    Raises:
        UsageError: a file cannot be read, or lists nothing.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        listed = name not in known and (path.suffix == ".txt" or path.is_file())
        found += _lines(path, option) if listed else [name]
    return tuple(found)


def _lines(path: Path, option: str) -> list[str]:
    try:
        lines = read_regular(path).decode().splitlines()
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} {path}: is no text: give a file with a layer's name a line") from None
    names = [name for line in lines if (name := line.strip()) and not name.startswith("#")]
    if not names:
        raise UsageError(f"{option} {path}: lists no layer: give a name a line")
    return names
