"""Telling a URL from a path: options carry both as a Path, which writes a URL's ``//`` as ``/``."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)  # a drive of Windows has one letter


def url_of(path: Path | str) -> str | None:
    """The URL that a path stands for; None where it is a path of this machine."""
    match = _URL.fullmatch(str(path))
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def shown(path: Path) -> str:
    """A path, or a URL as it was given."""
    return url_of(path) or str(path)


def location(path: Path) -> str:
    """A URL as it was given, any other path made absolute: the same for every process."""
    return url_of(path) or str(path.absolute())
