"""Files behind a URL, read whole through fsspec: ``s3://``, ``gs://``, ``https://`` and whatever it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distq.data.samples import UnreadableSample
from distq.errors import DataError
from distq.regular import require_regular

IN_THIS_PROCESS = "memory"
"""The scheme of files that no other process sees."""


def read_url(url: str) -> bytes:
    """The whole content.

    Raises:
        DataError: it is of a scheme that fsspec does not know, or that needs a package.
        UnreadableSample: it is not there, or cannot be read; a sample that ``--skip-bad`` may leave out.
    """
    filesystem, path = _open(url)
    try:
        if url.startswith("file:"):
            require_regular(Path(path))
        content: bytes = filesystem.cat_file(path)
    except FileNotFoundError:
        raise UnreadableSample(f"{url} does not exist: check the URL") from None
    except IsADirectoryError:
        raise UnreadableSample(f"{url} is a folder: give a list or array, or the folder's path") from None
    except PermissionError as error:
        raise UnreadableSample(f"{url} must not be read ({_flat(error)}): check the credentials") from None
    except Exception as error:  # each storage raises classes of its own
        raise UnreadableSample(f"{url} cannot be read: {type(error).__name__}: {_flat(error)}") from error
    return content


def url_size(url: str) -> int:
    """Bytes behind a URL, 0 where it cannot be told."""
    filesystem, path = _open(url)
    try:
        return int(filesystem.size(path) or 0)
    except Exception:  # noqa: BLE001  # each storage raises classes of its own
        return 0


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec  # noqa: PLC0415  # only who has URLs waits for it
    from fsspec.registry import known_implementations  # noqa: PLC0415  # the same

    if "::" in url:
        raise DataError(f"{url} chains several URLs: give one")
    scheme = url.partition(":")[0]
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = known_implementations[scheme]["class"].partition(".")[0]
        remedy = _flat(error) if package == "fsspec" else f"pip install {package}, on every node"
        raise DataError(f"{url} needs a package that is not installed: {remedy}") from None
    except ValueError as error:
        raise DataError(f"{url} cannot be opened: {_flat(error)}; give a path, or a URL of fsspec") from None
    return filesystem, path


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())
