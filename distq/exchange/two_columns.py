"""Files of lines ``name number``, which several tools write and mean different things by."""

from __future__ import annotations

from distq.exchange.text import Content

_LOOKED_AT = 400


def rows_of(content: Content) -> list[list[str]]:
    """Fields of the first lines that are neither blank nor a comment."""
    if content.text is None:
        return []
    lines = content.text.split("\n", _LOOKED_AT)[:_LOOKED_AT]
    return [fields for line in lines if (fields := line.split()) and not fields[0].startswith("#")]


def is_two_columns(content: Content) -> bool:
    """Whether the file begins as lines ``name number``."""
    rows = rows_of(content)[:20]
    return bool(rows) and all(len(row) == 2 and _is_number(row[1]) for row in rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
