"""Read a user's network, in whichever format it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from distq.errors import ModelError, UsageError
from distq.exchange.caffe.convert import SUFFIX, WEIGHTS_SUFFIX, read_caffe
from distq.graph.read import Reader, ReadModel, read_onnx
from distq.regular import read_regular


def is_caffe(path: Path) -> bool:
    """Whether a file is a Caffe network, by its name."""
    return path.suffix.lower() == SUFFIX


def files_of_network(path: Path, weights: Path | None = None) -> tuple[Path, ...]:
    """The files that a network which :func:`read_network` can read lies in."""
    if is_caffe(path):
        return path, weights or path.with_suffix(WEIGHTS_SUFFIX)
    proto = onnx.load_model_from_string(read_regular(path))
    outside = [t for t in proto.graph.initializer if uses_external_data(t)]
    return path, *(path.parent / name for name in {ExternalDataInfo(t).location: None for t in outside})


def network_reader(weights: Path | None = None) -> Reader:
    """What :func:`distq.graph.load.load_model` reads a file with; ``weights`` as in :func:`read_network`."""
    return partial(read_network, weights=weights)


def read_network(path: Path, weights: Path | None = None) -> ReadModel:
    """Read an ONNX file, or a Caffe prototxt and its weights.

    Args:
        path: an ONNX file or a ``.prototxt``.
        weights: a prototxt's caffemodel; None: the one of the same name beside it.

    Raises:
        ModelError: a file is missing, corrupt, or holds what distq cannot read.
        UsageError: weights were given for a model that has its own.
    """
    if is_caffe(path):
        found = read_caffe(path, weights)
        return ReadModel(found.model, found.sha256, found.notes, found.layers)
    if path.suffix.lower() == WEIGHTS_SUFFIX:
        raise ModelError(f"{path} has weights alone: give the .prototxt as the model, with --weights {path}")
    if weights is not None:
        raise UsageError(f"--weights is for a Caffe .prototxt, {path} has weights of its own: leave it out")
    return read_onnx(path)
