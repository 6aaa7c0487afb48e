"""Preprocessing by a user's Python file with ``image_preprocess(img_path, norm=True)`` (REFERENCE.md 7)."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.fit import fits, with_batch
from distq.data.samples import InputSpec, UnreadableSample
from distq.errors import PreprocessError
from distq.files import sha256_bytes
from distq.regular import require_regular

_FUNCTION = "image_preprocess"
_one_at_a_time = threading.Lock()  # a user's file need not be thread-safe


@dataclass(frozen=True)
class Plugin:
    """A Python file the user has allowed to run, known by the SHA-256 of its bytes."""

    path: str
    sha256: str

    def describe(self) -> dict[str, Any]:
        """What two plug-ins must share to be the same preprocessing."""
        return {"plugin": Path(self.path).name, "sha256": self.sha256}

    def apply(self, image: Path, spec: InputSpec) -> NDArray[Any]:
        """Call the function on one image file.

        Returns:
            What it returned, (1, H, W, C) turned into (1, C, H, W) where the model's shape asks for that.

        Raises:
            PreprocessError: the file has changed, or what it returned is no array.
            UnreadableSample: it raised on this image, or this is no regular file.
        """
        function = _load_function(self.path, self.sha256)
        try:
            require_regular(image)
        except OSError as error:
            raise UnreadableSample(f"image {image} cannot be read: {error.strerror}") from None
        try:
            with _one_at_a_time:
                result = function(str(image), norm=True)
        except Exception as error:  # anything may come out of a user's code
            raise UnreadableSample(
                f"image {image}: plug-in {self.path} raised {type(error).__name__}: {flat(error)}"
            ) from error
        array = np.asarray(result)
        if array.dtype.kind not in "biuf":
            raise PreprocessError(
                f"plug-in {self.path} returned {type(result).__name__} for {image}, not an array"
            )
        array = with_batch(array, spec)
        if array.ndim == 4 and not fits(array.shape, spec):
            turned = array.transpose(0, 3, 1, 2)
            if fits(turned.shape, spec):
                return np.ascontiguousarray(turned)
        return array


def load_plugin(path: Path, source: bytes, *, allow_code: bool) -> Plugin:
    """Check that a Python file has the function; this runs the file.

    Raises:
        PreprocessError: without ``allow_code``, or the file does not load or lacks the function.
    """
    if not allow_code:
        raise PreprocessError(f"preprocessing file {path} is Python code: give --allow-code to run it")
    plugin = Plugin(str(path.absolute()), sha256_bytes(source))
    _load_function(plugin.path, plugin.sha256)
    return plugin


def _load_function(path: str, sha256: str) -> Callable[..., object]:
    function = getattr(load_module(path, sha256), _FUNCTION, None)
    if not callable(function):
        raise PreprocessError(f"plug-in {path} has no function {_FUNCTION}(img_path, norm=True): write it")
    return function  # type: ignore[no-any-return]  # callable() does not narrow Any


@cache
def load_module(path: str, sha256: str) -> ModuleType:
    """Run a user's Python file once in this process; the user has allowed it.

    Args:
        path: of the file.
        sha256: of its bytes when the job began.

    Raises:
        PreprocessError: it cannot be read, has changed since, or does not load.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise PreprocessError(f"plug-in {path} cannot be read: {error.strerror}") from None
    if sha256_bytes(source) != sha256:
        raise PreprocessError(f"plug-in {path} has changed since the job began: start the job anew")
    name = f"distq_plugin_{sha256[:16]}"
    module_spec = importlib.util.spec_from_loader(name, _ExactSource(path, source))
    if module_spec is None or module_spec.loader is None:
        raise PreprocessError(f"plug-in {path} cannot be loaded: Python finds no module in it")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses in the file look their module up
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PreprocessError(
            f"plug-in {path} does not load: {type(error).__name__}: {flat(error)}"
        ) from error
    return module


class _ExactSource(importlib.abc.SourceLoader):
    """Loads the very bytes that were hashed, with no cached bytecode in between."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  # the interface's
        return self._path

    def get_data(self, path: str | bytes) -> bytes:  # noqa: ARG002  # the interface's
        return self._source


def flat(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
