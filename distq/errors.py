"""Every error distq raises on purpose.

    DistqError                    exit code 3
    ├── InputError                exit code 2: what the user gave cannot be used
    │   ├── UsageError            options that do not go together, a RUN that exists
    │   ├── ModelError            the ONNX file
    │   ├── DataError             the samples, their names, sizes and values
    │   ├── PreprocessError       the preprocessing file or plug-in
    │   └── FileFormatError       a table, distribution or journal file
    ├── ExecutionError            a work unit that failed after its retries
    └── InterruptedRun            exit code 130: Ctrl-C; the run can be resumed

A message is one line: it names the thing and says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable


class DistqError(Exception):
    """The root of distq's errors."""

    exit_code = 3


class InputError(DistqError):
    """What the user gave cannot be used; nothing was written."""

    exit_code = 2


class UsageError(InputError):
    """Options that do not go together, or a run folder that is taken."""


class ModelError(InputError):
    """An ONNX model that is missing, corrupt, or that distq cannot quantize."""


class DataError(InputError):
    """Samples that are missing, unreadable, or do not fit the model."""


class PreprocessError(InputError):
    """A preprocessing file or plug-in that is wrong."""


class FileFormatError(InputError):
    """A threshold table, distribution file or journal that is damaged or of another job."""


class ExecutionError(DistqError):
    """A work unit failed, also when tried again."""


class InterruptedRun(DistqError):  # noqa: N818  # Ctrl-C is no error of anyone
    """The user pressed Ctrl-C; what is finished is in the run folder's journal."""

    exit_code = 130


def one_of(names: Iterable[str]) -> str:
    """What a message lists to choose from: ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 layer``, ``1,200 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"
