"""``run.json`` with the SHA-256 of every file of its run and of itself, so that damage is found.

``files`` has the other files' by name, once the run is finished. ``sha256`` comes last; it is that of the
whole text with 64 zeros in its place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from distq.errors import FileFormatError
from distq.files import sha256_bytes, sha256_file
from distq.regular import read_regular

RUN_JSON = "run.json"
_OWN, _FILES = "sha256", "files"
_BLANK = "0" * 64


def as_json(content: Mapping[str, Any]) -> bytes:
    """A file's content as JSON for people to read."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def sealed(content: Mapping[str, Any], files: Mapping[str, str] | None = None) -> bytes:
    """The bytes of ``run.json``.

    Args:
        content: what it says.
        files: SHA-256 of the finished run's other files by name; None: it is not finished.
    """
    named = {} if files is None else {_FILES: dict(files)}
    blank = as_json({**content, **named, _OWN: _BLANK})
    before, _, after = blank.rpartition(_BLANK.encode())
    return before + sha256_bytes(blank).encode() + after


def read_sealed(path: Path) -> dict[str, Any]:
    """What ``run.json`` says; one of an earlier version, without a SHA-256, is taken as it is.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    data = read_regular(path)
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")  # noqa: TRY004  # of a file's content, not of a caller's argument
    if _OWN not in content and _FILES not in content:
        return content
    own = str(content.get(_OWN))
    before, found, after = data.rpartition(own.encode())
    if not found or sha256_bytes(before + _BLANK.encode() + after) != own:
        raise ValueError("its SHA-256 is another")
    if not isinstance(content.get(_FILES, {}), dict):
        raise ValueError("its files are no mapping")  # noqa: TRY004  # the same
    return content


def damaged_files(run: Path, among: Collection[str] | None = None) -> tuple[Path, ...]:
    """Files of a finished run that are not, or no longer, what it wrote; none where it says nothing of them.

    Args:
        run: its folder.
        among: names of those that are looked at; None: all.

    Raises:
        OSError: ``run.json`` cannot be read.
        ValueError: it is damaged.
    """
    files = read_sealed(run / RUN_JSON).get(_FILES, {})
    return tuple(
        run / name
        for name, sha256 in files.items()
        if (among is None or name in among) and _sha256(run / name) != sha256
    )


def require_undamaged(*paths: Path | None) -> None:
    """Refuse a file that lies in the folder of a finished run, and is not what this run wrote.

    Args:
        paths: any files, also of no run; None: nothing was given.

    Raises:
        FileFormatError: naming it.
    """
    given = [path for path in paths if path is not None and (path.parent / RUN_JSON).is_file()]
    for run in dict.fromkeys(path.parent for path in given):
        _require_undamaged(run, [path.name for path in given if path.parent == run])


def _require_undamaged(run: Path, names: Sequence[str]) -> None:
    own = {*names, *(f"{name}.data" for name in names)}  # where the weights of a large model lie
    try:
        damaged = damaged_files(run, own)
    except (OSError, ValueError, RecursionError):
        raise FileFormatError(
            f"{run / RUN_JSON} is damaged, so {names[0]} cannot be checked: "
            "copy it to another folder to take it as it is"
        ) from None
    if damaged:
        raise FileFormatError(
            f"{damaged[0]} is not what its run wrote: have it made again by the same command with --resume, "
            "or copy it to another folder to take it as it is"
        )


def _sha256(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
