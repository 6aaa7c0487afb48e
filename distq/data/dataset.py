"""A data set as a job carries it: described by plain values, opened by each worker for itself.

The path of one image: ``DatasetSpec.open`` sniffs the source, the source's ``read`` gives an item, and
``SourceDataset.load`` decodes it, runs the preprocessing steps and fits the result to the model's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import cv2
from numpy.typing import NDArray

from distq.activity import doing
from distq.data.ahead import load_ahead
from distq.data.arrays import ArraySource
from distq.data.boxes import Box
from distq.data.caffe_lmdb import LmdbSource
from distq.data.fit import NotFinite, array_remedy, fit, in_wider_integers
from distq.data.images import pixels_of
from distq.data.labels import find_label, load_labels
from distq.data.layout import image_channels, image_layout, image_remedy, require_image_input
from distq.data.plugin import Plugin
from distq.data.preprocess import Preprocessing, default_steps, load_preprocessing, preprocessing_files
from distq.data.samples import (
    DEFAULT_PIXEL_LIMIT,
    Dataset,
    ImageFile,
    InputSpec,
    Item,
    Sample,
    Source,
    UnreadableSample,
    Values,
)
from distq.data.sniff import open_source
from distq.data.staging import LocalCopy, Stage, local_copy
from distq.data.text_list import TextListSource
from distq.errors import DataError, ExecutionError, PreprocessError, plural
from distq.memory import is_out_of_memory, out_of_memory
from distq.urls import location

__all__ = [
    "Dataset",
    "DatasetSpec",
    "InputSpec",
    "Sample",
    "SourceDataset",
    "UnreadableSample",
    "load_ahead",
]


@dataclass(frozen=True)
class DatasetSpec:
    """Where samples are and how they become inputs; picklable, so that it travels to workers.

    Attributes:
        source: Folder of images or arrays, text list, LMDB folder, .npz or .npy; a list or array also
            behind a URL.
        inputs: The model's inputs, in its order.
        preprocessing: Steps for images, or a Python file, which workers refuse where it differs; None is RGB,
            unscaled (gray where the input has one channel), in the layout of the input.
        labels: A file of ``name label`` lines, which goes before labels the source itself holds.
        pixel_limit: Images of more pixels are unreadable.
        stage: What a worker copies to its node's own disk and reads there instead.
        root: Where relative paths of a text list start; None is the list's folder.
        notes: What the user should know about how it was described.
        each: Preprocessing of each input, where every one has a file of its own.
        classes: Names of the classes of an annotated LMDB's boxes, from 1 on; empty where none are known.
    """

    source: str
    inputs: tuple[InputSpec, ...]
    preprocessing: Preprocessing | Plugin | None = None
    labels: str | None = None
    pixel_limit: int = DEFAULT_PIXEL_LIMIT
    stage: Stage | None = None
    root: str | None = None
    notes: tuple[str, ...] = ()
    each: tuple[Preprocessing | Plugin, ...] = ()
    classes: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        source: Path,
        inputs: Sequence[InputSpec],
        *,
        preprocess: Path | Preprocessing | None = None,
        labels: Path | None = None,
        allow_code: bool = False,
        root: Path | None = None,
        notes: tuple[str, ...] = (),
        classes: tuple[str, ...] = (),
    ) -> Self:
        """Describe a data set by what a command is given; paths become absolute, URLs stay.

        Raises:
            PreprocessError: the preprocessing file is wrong or needs ``allow_code``.
        """
        files = () if isinstance(preprocess, Preprocessing) else preprocessing_files(preprocess)
        if len(files) > 1 and len(files) != len(inputs):
            raise PreprocessError(
                f"{len(files)} preprocessing files for {plural(len(inputs), 'input')}: give one, or as many"
            )
        loaded: Preprocessing | Plugin | None = None
        if isinstance(preprocess, Preprocessing):
            loaded = preprocess
        elif len(files) == 1:
            loaded = load_preprocessing(files[0], allow_code)
        return cls(
            source=location(source),
            inputs=tuple(inputs),
            preprocessing=loaded,
            labels=location(labels) if labels else None,
            root=str(root.absolute()) if root else None,
            notes=notes,
            classes=classes,
            each=tuple(p for p in (load_preprocessing(f, allow_code) for f in files) if p is not None)
            if len(files) > 1
            else (),
        )

    @property
    def runs_code(self) -> bool:
        """Whether a user's Python file makes the inputs."""
        return any(isinstance(one, Plugin) for one in (self.preprocessing, *self.each))

    @property
    def plugin_sha256(self) -> str | None:
        """SHA-256 of the Python file that makes every input; None where there is none."""
        return self.preprocessing.sha256 if isinstance(self.preprocessing, Plugin) else None

    def remarks(self) -> list[str]:
        """What a person should know about how samples become inputs."""
        nchw = [s.name for s in self.inputs if len(s.shape) == 4 and image_layout(s) == "nchw"]
        if not self.runs_code or not nchw:
            return []
        names = ", ".join(nchw)
        return [f"what the plug-in returns as (1, H, W, C) is turned into (1, C, H, W) for {names}"]

    def open(self) -> SourceDataset:
        """Open the source; decodes nothing.

        Raises:
            DataError: the source is missing, damaged or does not fit the model's inputs.
            PreprocessError: the preprocessing names an input the model does not have.
        """
        names = tuple(spec.name for spec in self.inputs)
        for one in (self.preprocessing, *self.each):
            if isinstance(one, Preprocessing):
                one.check_inputs(names)
        source = open_source(Path(self.source), names, Path(self.root) if self.root else None)
        return SourceDataset(self, source, load_labels(Path(self.labels)) if self.labels else None)

    def count(self) -> int:
        """How many samples the source has.

        Raises:
            DataError: it has none, or :meth:`open` cannot open it.
        """
        count = len(self.open())
        if count < 1:
            raise DataError(f"data {self.source} is empty: give at least one sample")
        return count

    def open_copy(self) -> tuple[SourceDataset, LocalCopy | None]:
        """Open a node's own copy where there is to be one, else the source; with what the copy stays by.

        Raises:
            ExecutionError: there is no room for a copy, or it differs.
            DataError: as :meth:`open`.
        """
        if self.stage is None:
            return self.open(), None
        copy = local_copy(Path(self.source), self.stage)
        return replace(self, source=str(copy.path), stage=None).open(), copy

    def describe_preprocessing(self) -> dict[str, Any]:
        """What the preprocessing is, JSON-able: the same for the same pixels, wherever the files are."""
        if self.each:
            return {"each": [one.describe() for one in self.each]}
        if self.preprocessing is not None:
            return self.preprocessing.describe()
        layouts = {image_layout(spec).upper() for spec in self.inputs if len(spec.shape) == 4} or {"NCHW"}
        return {"default": f"float32 RGB (gray for one channel) {' and '.join(sorted(layouts))}, unscaled"}


class SourceDataset:
    """Samples of a source, decoded, preprocessed and fitted to the model."""

    def __init__(self, spec: DatasetSpec, source: Source, labels: dict[str, int] | None) -> None:
        self.spec = spec
        self.source = source
        self._labels = labels
        every = spec.each or (spec.preprocessing,) * len(spec.inputs)
        self._by_input = dict(zip([one.name for one in spec.inputs], every, strict=True))

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """The sample's name: its path as listed, LMDB key, or row number."""
        return self.source.name(index)

    def label(self, index: int) -> int | None:
        """The label from the labels file where there is one, else the source's own.

        Raises:
            DataError: there is a labels file and the sample is not in it.
        """
        if self._labels is not None and self.spec.labels is not None:
            return find_label(self._labels, self.source.aliases(index), Path(self.spec.labels))
        return self.source.label(index)

    def boxes(self, index: int) -> tuple[Box, ...]:
        """The objects that an annotated LMDB has of a sample, in fractions of its stored picture; else none.

        Raises:
            UnreadableSample: the record is damaged.
        """
        return self.source.boxes(index) if isinstance(self.source, LmdbSource) else ()

    def preprocessing_of(self, name: str) -> Preprocessing | Plugin | None:
        """What makes an input of a picture; None: the default steps."""
        return self._by_input[name]

    def load(self, index: int) -> Sample:
        """Decode and preprocess one sample.

        Raises:
            UnreadableSample: it cannot be decoded, is over the pixel limit, holds NaN or inf, or is an array
                that does not fit where others may.
            DataError: its size or dtype does not fit the model.
            PreprocessError: a step cannot be applied to it.
            ExecutionError: there is no memory for it.
        """
        name = self.name(index)
        try:
            with doing(f"sample {name}"):
                items = self.source.read(index)
                inputs = {
                    spec.name: self._prepare(item, spec, name)
                    for spec, item in zip(self.spec.inputs, items, strict=True)
                }
        except UnreadableSample as error:
            listed = f" ({self.source.line(index)})" if isinstance(self.source, TextListSource) else ""
            unreadable = UnreadableSample(f"{error}{listed}")
            unreadable.index = index
            raise unreadable from error
        except (MemoryError, cv2.error) as error:
            if not is_out_of_memory(error):
                raise
            raise ExecutionError(out_of_memory(f"sample {name}", error)) from error
        return Sample(index, name, inputs, self.label(index))

    def _prepare(self, item: Item, spec: InputSpec, name: str) -> NDArray[Any]:
        if isinstance(item, Values):
            return self._fitted(item, spec, name)
        preprocessing = self._by_input[spec.name]
        if isinstance(preprocessing, Plugin):
            return fit(self._run(preprocessing, item, spec), spec, name, "make the plug-in return this size")
        require_image_input(spec)
        pixels = pixels_of(item, name, self.spec.pixel_limit)
        if preprocessing is None:
            steps = default_steps(image_channels(spec), image_layout(spec))
        else:
            steps = preprocessing.for_input(spec.name)
        try:
            array = steps.apply(pixels)
        except PreprocessError as error:
            raise PreprocessError(f"sample {name}: {error}") from None
        return fit(in_wider_integers(array, spec), spec, name, image_remedy(array, spec))

    def _fitted(self, item: Values, spec: InputSpec, name: str) -> NDArray[Any]:
        """An array of the data for an input.

        Raises:
            UnreadableSample: it holds NaN or inf, or other samples may fit where it does not.
            DataError: it is a row like all others.
        """
        try:
            return fit(item.array, spec, name, array_remedy(spec))
        except NotFinite as error:
            raise UnreadableSample(error.fact) from error
        except DataError as error:
            if isinstance(self.source, ArraySource):
                raise
            raise UnreadableSample(str(error)) from error

    def _run(self, plugin: Plugin, item: Item, spec: InputSpec) -> NDArray[Any]:
        if not isinstance(item, ImageFile):
            raise PreprocessError(
                f"plug-in {plugin.path} takes files of this machine, not records or URLs as in "
                f"{self.spec.source}: use a folder or a list of paths"
            )
        return plugin.apply(item.path, spec)
