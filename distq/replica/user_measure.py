"""A measure in a user's own Python file, which the user has allowed to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from distq.data.plugin import flat, load_module
from distq.errors import PreprocessError, UsageError
from distq.files import sha256_file
from distq.search.measures.measure import Facts, Figures, Measure, Outputs, Record


@dataclass(frozen=True)
class UserMeasure(Measure):
    """A Python file with ``score(outputs, sample)``.

    It may also have ``finish(records)``, ``postprocess(outputs, sample)``, ``higher_is_better`` (True),
    ``needs_float`` (False) and ``own`` (None): see :class:`~distq.search.measures.measure.Measure`.
    """

    path: str
    sha256: str
    name: str

    @property
    def key(self) -> str:
        """Identity: the file's bytes."""
        return self.sha256

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]  # a class's own elsewhere
        """As the file says."""
        return bool(getattr(self._module, "higher_is_better", True))

    @property
    def needs_float(self) -> bool:  # type: ignore[override]  # as above
        """As the file says."""
        return bool(getattr(self._module, "needs_float", False))

    @property
    def own(self) -> float | None:  # type: ignore[override]  # as above
        """As the file says."""
        found = getattr(self._module, "own", None)
        return None if found is None else float(found)

    def postprocess(self, outputs: Outputs, sample: Facts) -> Outputs:
        """The file's, where it has one."""
        function = getattr(self._module, "postprocess", None)
        if function is None:
            return outputs
        found = self._call(function, "postprocess", outputs, sample)
        if not isinstance(found, Mapping):
            raise PreprocessError(
                f"measure {self.path}: postprocess gives a dict of arrays, not {_kind(found)}"
            )
        return {str(name): np.asarray(array) for name, array in found.items()}

    def score(self, outputs: Outputs, sample: Facts) -> Record | None:
        """The file's."""
        found = self._call(self._module.score, "score", outputs, sample)
        if found is None:
            return None
        record = np.asarray(found)
        if record.dtype.kind not in "biuf":
            raise PreprocessError(
                f"measure {self.path}: score gives a number or an array, not {_kind(found)}"
            )
        return record.astype(np.float64)

    def finish(self, records: Sequence[Record]) -> float | Figures:
        """The file's, else the mean."""
        function = getattr(self._module, "finish", None)
        if function is None:
            return super().finish(records)
        found = self._call(function, "finish", list(records))
        if isinstance(found, Mapping):
            return {str(name): float(value) for name, value in found.items()}
        try:
            return float(found)  # type: ignore[arg-type]  # checked by trying
        except (TypeError, ValueError):
            raise PreprocessError(
                f"measure {self.path}: finish gives a number or a dict of numbers, not {_kind(found)}"
            ) from None

    @property
    def _module(self) -> ModuleType:
        return load_module(self.path, self.sha256)

    def _call(self, function: Callable[..., object], name: str, *values: object) -> object:
        try:
            return function(*values)
        except Exception as error:  # anything may come out of a user's code
            raise PreprocessError(
                f"measure {self.path}: {name} raised {type(error).__name__}: {flat(error)}"
            ) from error


def open_user_measure(path: Path, *, allow_code: bool) -> UserMeasure:
    """Check that a Python file is a measure; this runs the file.

    Raises:
        UsageError: without ``allow_code``, or there is no such file.
        PreprocessError: it does not load, or has no ``score``.
    """
    if not path.is_file():
        raise UsageError(f"measure {path}: there is no such file; give a Python file")
    if not allow_code:
        raise UsageError(f"measure {path} is Python code: give --allow-code to run it")
    found = UserMeasure(str(path.absolute()), sha256_file(path), path.stem)
    if not callable(getattr(load_module(found.path, found.sha256), "score", None)):
        raise PreprocessError(f"measure {path} has no function score(outputs, sample): write it")
    return found


def _kind(found: Any) -> str:  # noqa: ANN401  # whatever a user's code gives
    return type(found).__name__
