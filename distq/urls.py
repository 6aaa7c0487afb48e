"""Telling a URL from a path: options carry both as a Path, which writes a URL's ``//`` as ``/``."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
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


def why_unusable(path: Path) -> str | None:
    """Why no file can have this path on any machine, and what to do; None where one can.

    A name holds 255 bytes at most, a path 4095, of which files in a folder want some. One that is no UTF-8
    cannot be written into JSON.
    """
    if url_of(path) is not None:
        return None
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _LONGEST_NAME:
        return f"a name of {longest} bytes is longer than the {_LONGEST_NAME} a file system takes: shorten it"
    whole = len(os.fsencode(path))
    if whole > _LONGEST_PATH:
        return f"a path of {whole} bytes, over {_LONGEST_PATH}, leaves no room for files in it: shorten it"
    if os.fsencode(path).decode("utf-8", "ignore").encode() != os.fsencode(path):
        return "its name is no UTF-8: rename it, or give it through a link with another name"
    return None
