"""What data a job reads: what its options say, or what the data layer of a prototxt says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distq.data.caffe_lmdb import LmdbSource
from distq.data.layout import image_channels
from distq.data.preprocess import Preprocessing
from distq.data.recorded import is_recorded
from distq.data.samples import InputSpec, UnreadableSample, Values
from distq.errors import DataError, UsageError
from distq.exchange.caffe.data_layer import read_data_layer
from distq.exchange.model_file import is_caffe

_MISSING = "--data is missing: give a folder, a list, an LMDB or an .npz of samples"


@dataclass(frozen=True)
class GivenData:
    """A source and its preprocessing.

    Attributes:
        source: Where the samples are.
        preprocess: A preprocessing file, or what a data layer says; None is the default.
        root: Where relative paths of a text list start; None is the list's folder.
        notes: What the user should know about the data layer.
        classes: Names of the classes of annotated boxes, from 1 on; empty where the data layer has none.
    """

    source: Path
    preprocess: Path | Preprocessing | None = None
    root: Path | None = None
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def require_data(data: Path | None, *models: Path | None) -> None:
    """Check that there may be data before anything is loaded.

    Raises:
        UsageError: there is no ``--data``, and no model is a prototxt, which may name some.
    """
    if data is None and not any(model is not None and is_caffe(model) for model in models):
        raise UsageError(_MISSING)


def given_data(
    model: Path | None, source: Path | None, preprocess: Path | None, inputs: Sequence[InputSpec] = ()
) -> GivenData:
    """Find source and preprocessing; options go before what the data layer of the model's prototxt says.

    ``source`` may be a prototxt, whose data layer is then taken whole, and so may ``preprocess``, for its
    transformations alone.

    Args:
        model: The model's file; None where there is none.
        source: ``--data``.
        preprocess: ``--preprocess``.
        inputs: The model's inputs.

    Raises:
        UsageError: neither an option nor a data layer names a source.
        DataError: a prototxt that is to name one has no data layer.
        PreprocessError: its transformations cannot be repeated.
    """
    own = model if model is not None and is_caffe(model) else None
    chosen = own if source is None else source
    if chosen is None:
        raise UsageError(_MISSING)
    found = _source(chosen, inputs)
    place = found.source
    if preprocess is not None and not is_caffe(preprocess):
        return replace(found, preprocess=preprocess)
    named = preprocess or (source if source is not None and is_caffe(source) else own)
    if named is None:
        return found
    layer = read_data_layer(named, [spec.name for spec in inputs])
    if layer is None:
        if preprocess is None and source is not None:
            return replace(found, notes=(*found.notes, *_unsaid(named, place)))
        raise DataError(f"{named} has no data layer: give a preprocessing file in YAML")
    images = [spec for spec in inputs if len(spec.shape) == 4]
    preprocessing, notes = layer.preprocessing(image_channels(images[0]) if images else None)
    return replace(
        found, preprocess=preprocessing, notes=(*found.notes, *notes, *_skipped_steps(place, preprocessing))
    )


def _unsaid(network: Path, place: Path) -> tuple[str, ...]:
    """What to say about a network to deploy, which does not tell what it makes of images."""
    if place.suffix.lower() in {".npy", ".npz"} or is_recorded(place):
        return ()
    text = "images become RGB, unscaled; most Caffe networks take BGR minus a mean: give --preprocess"
    return (f"{network} has no data layer: {text}",)


def _skipped_steps(place: Path, preprocessing: Preprocessing) -> tuple[str, ...]:
    """What to say about an LMDB of arrays whose data layer transforms them, which Caffe would do."""
    if not (place / "data.mdb").exists() or len(preprocessing.for_input("*").steps) == 1:  # the color alone
        return ()
    source = LmdbSource(place)
    try:
        arrays = bool(len(source)) and isinstance(source.read(0)[0], Values)
    except UnreadableSample:  # said when its turn comes
        return ()
    return (
        (f"{place} holds arrays (float_data): the data layer's transformations skip them",) if arrays else ()
    )


def _source(place: Path, inputs: Sequence[InputSpec]) -> GivenData:
    """A source as given, or as a prototxt names it; without preprocessing."""
    if not is_caffe(place):
        return GivenData(place)
    layer = read_data_layer(place, [spec.name for spec in inputs])
    if layer is None:
        raise DataError(f"{place} has no data layer that names a source: give --data")
    source, root = layer.source()
    classes, notes = layer.class_names()
    return GivenData(source, root=root, notes=notes, classes=classes)
