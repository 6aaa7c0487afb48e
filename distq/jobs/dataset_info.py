"""``distq dataset info``: what was understood of a source, of a preprocessing file, or of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distq.data.info import SourceInfo, describe_source
from distq.data.preprocess import Preprocessing, load_preprocessing
from distq.errors import DataError
from distq.exchange.caffe.data_layer import read_data_layer
from distq.exchange.model_file import is_caffe
from distq.regular import require_regular

_PREPROCESSING = {".yaml", ".yml", ".json"}


@dataclass(frozen=True)
class DataInfo:
    """What was understood.

    Attributes:
        source: What the samples are; None where none were named or they are not there.
        preprocessing: The content of a preprocessing file that means the same; None where nothing says one.
        plugin: A Python file that preprocesses, which was not run.
        notes: What was left out or assumed, or is missing.
    """

    source: SourceInfo | None = None
    preprocessing: Mapping[str, Any] | None = None
    plugin: str | None = None
    notes: tuple[str, ...] = ()


def dataset_info(path: Path) -> DataInfo:
    """Look at a data source, at a preprocessing file, or at a prototxt, whose data layer says both.

    Decodes no image and runs no code.

    Raises:
        DataError: the source is missing, damaged or empty, or the prototxt has no data layer.
        ModelError: it is no prototxt.
        PreprocessError: the preprocessing is wrong.
    """
    suffix = path.suffix.lower()
    if is_caffe(path):
        return _data_layer(path)
    if suffix == ".py":
        return _plugin(path)
    if suffix in _PREPROCESSING:
        steps = load_preprocessing(path)
        return DataInfo(preprocessing=steps.as_file() if isinstance(steps, Preprocessing) else None)
    return DataInfo(describe_source(path))


def _data_layer(path: Path) -> DataInfo:
    layer = read_data_layer(path)
    if layer is None:
        raise DataError(f"{path} has no data layer: give --data and --preprocess with this network")
    preprocessing, notes = layer.preprocessing()
    try:
        source, root = layer.source()
        described = describe_source(source, root)
    except DataError as error:
        return DataInfo(None, preprocessing.as_file(), notes=(*notes, str(error)))
    return DataInfo(described, preprocessing.as_file(), notes=notes)


def _plugin(path: Path) -> DataInfo:
    try:
        require_regular(path)
    except OSError as error:
        raise DataError(f"plug-in {path} cannot be read: {error.strerror}; give a Python file") from None
    return DataInfo(plugin=str(path.absolute()))
