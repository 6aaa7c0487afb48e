"""The data layer of a prototxt: where its samples are, and its preprocessing.

Kinds that are read: Data and AnnotatedData (an LMDB), ImageData (a list), and Python (a list in its
``param_str``). MemoryData says its transformations alone. The batch size means nothing here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from distq.data.preprocess import Preprocessing, preprocessing_of
from distq.data.text_list import read_lines, split_label
from distq.errors import DataError, ModelError, PreprocessError
from distq.exchange.caffe.prototxt import Prototxt, included, read_label_map, read_prototxt
from distq.exchange.caffe.python_layer import parse_param_str, read_values
from distq.exchange.caffe.schema import Message
from distq.exchange.caffe.transform import (
    StepContent,
    Transform,
    mean_steps,
    read_transform,
    scale_step,
)

_KINDS = {
    "Data": "Data",
    "DATA": "Data",  # the names in capitals are those of files before 2014
    "AnnotatedData": "AnnotatedData",
    "ImageData": "ImageData",
    "IMAGE_DATA": "ImageData",
    "Python": "Python",
    "MemoryData": "MemoryData",
    "MEMORY_DATA": "MemoryData",
    "HDF5Data": "HDF5Data",
    "HDF5_DATA": "HDF5Data",
    "WindowData": "WindowData",
    "WINDOW_DATA": "WindowData",
}
_REFUSED = {
    "HDF5Data": "HDF5 files are not read: save their arrays as .npz, and give --data",
    "WindowData": "windows of images are not read: give --data",
}


@dataclass(frozen=True)
class DataLayer:
    """A layer of a prototxt that reads samples.

    Attributes:
        prototxt: The file it is in.
        kind: Data, AnnotatedData, ImageData, Python, MemoryData, HDF5Data or WindowData.
        message: The layer.
        where: File, line and name, for messages.
        training: Whether it is for the TRAIN phase alone, for want of one for TEST.
        unknown: Names of its fields that are not known here.
    """

    prototxt: Path
    kind: str
    message: Message
    where: str
    training: bool = False
    unknown: tuple[str, ...] = ()

    def source(self) -> tuple[Path, Path | None]:
        """Where the samples are; of a list also the folder that relative paths in it start at.

        Raises:
            DataError: the layer names nothing that distq reads, or it is not there.
        """
        if self.kind in _REFUSED:
            raise DataError(f"{self.where}: {_REFUSED[self.kind]}")
        root = ""
        if self.kind == "Python":
            values = self._values()
            text, root = str(values.get("list", "")), str(values.get("root", ""))
        elif self.kind == "ImageData":
            text, root = self.message.image_data_param.source, self.message.image_data_param.root_folder
        else:
            text = self.message.data_param.source
        if not text:
            raise DataError(f"{self.where} names no source: give --data")
        path = self._find(text)
        if not path.exists():
            raise DataError(
                f"{self.where}: its source {text} is neither in {self.prototxt.absolute().parent} nor in the "
                "current folder: give --data"
            )
        listed = self.kind in {"Python", "ImageData"}
        return path, self._root(path, root) if listed and path.is_file() else None

    def class_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the classes from 1 on, by the ``label_map_file`` of an AnnotatedData layer, and notes.

        Raises:
            DataError: the file is no label map.
        """
        text = self.message.annotated_data_param.label_map_file
        if not text:
            return (), ()
        path = self._find(text)
        if not path.exists():
            return (), (f"{self.where}: label_map_file {text} is not there: classes go by their numbers",)
        try:
            names = read_label_map(path)
        except ModelError as error:
            raise DataError(f"{self.where}: label_map_file: {error}; mend or remove it") from None
        return tuple(names.get(number, "") for number in range(1, max(names) + 1)), ()

    def preprocessing(self, channels: int | None = None) -> tuple[Preprocessing, tuple[str, ...]]:
        """The preprocessing of its images, and notes on what was left out or assumed.

        Args:
            channels: Of the model's input: Caffe decodes an image as it is stored, which is gray where the
                model takes one channel.

        Raises:
            PreprocessError: it is random, contradicts itself, or names a file that is not there.
        """
        transform = self._transform()
        gray = channels == 1 if transform.gray is None else transform.gray
        steps: list[StepContent] = [{"color": "gray" if gray else "bgr"}, *transform.steps]
        notes = list(transform.notes)
        if self.training:
            notes.insert(0, f"{self.where} is for TRAIN, and there is none for TEST: a crop is of the middle")
        if self.unknown:
            notes.append(f"{self.where}: left out, as unknown: {', '.join(self.unknown)}")
        content = {"inputs": {"*": {"steps": steps, "layout": "nchw"}}}
        return preprocessing_of(content, self.where, self.prototxt.absolute().parent), tuple(notes)

    def _transform(self) -> Transform:
        samplers = [one.sampler for one in self.message.annotated_data_param.batch_sampler]
        if any((sampler.min_scale, sampler.max_scale) != (1, 1) for sampler in samplers):
            raise PreprocessError(
                f"{self.where}: batch_sampler cuts pieces out at random, so that thresholds would differ "
                "from run to run: remove it"
            )
        if self.kind == "Python":
            return read_values(self._values(), self.where)
        transform = read_transform(self.message.transform_param, self.where, self._path)
        old = self.message.image_data_param if self.kind == "ImageData" else self.message.data_param
        transform.steps += self._old_steps(old, transform)
        if self.kind == "ImageData":
            self._decoding(old, transform)
        elif old.force_encoded_color and transform.gray is None:
            transform.gray = False
        return transform

    def _old_steps(self, param: Message, transform: Transform) -> list[StepContent]:
        """What files before 2014 say in the parameters of the source."""
        steps = mean_steps(param, self.where, self._path)
        if param.crop_size:
            steps.append({"center_crop": {"height": param.crop_size, "width": param.crop_size}})
        if param.mirror:
            transform.notes.append(f"{self.where}: mirror is left out: it turns half of the images at random")
        return steps + scale_step(param.scale)

    def _decoding(self, param: Message, transform: Transform) -> None:
        """``new_height``, ``new_width`` and ``is_color`` of an ImageData layer, which come first."""
        if bool(param.new_height) != bool(param.new_width):
            raise PreprocessError(f"{self.where}: new_height and new_width go together: give both or none")
        if param.new_height:
            size = {"height": param.new_height, "width": param.new_width}
            transform.steps.insert(0, {"resize": size})
        transform.gray = not param.is_color

    def _values(self) -> dict[str, Any]:
        return parse_param_str(self.message.python_param.param_str, self.where)

    def _path(self, text: str) -> str:
        return str(self._find(text))

    def _find(self, text: str) -> Path:
        """A path as it lies beside the prototxt, or in the current folder, as Caffe takes it."""
        beside = self.prototxt.absolute().parent / text
        here = Path(text).absolute()
        return here if here.exists() and not beside.exists() else beside

    def _root(self, source: Path, root: str) -> Path:
        """The folder of a list's images: the first of the likely ones that has the first image."""
        first = next((split_label(entry)[0] for _, entry in islice(read_lines(source), 1)), "")
        folder = self.prototxt.absolute().parent
        likely = [folder / root, Path(root).absolute(), source.parent / root]
        return next((place for place in likely if (place / first).exists()), likely[0])


def read_data_layer(path: Path, inputs: Collection[str] = ()) -> DataLayer | None:
    """The layer that feeds a network's images, for the TEST phase where there is one.

    Args:
        path: The prototxt.
        inputs: The names of the model's inputs, which choose where there are several; none if unknown.

    Returns:
        The layer; None where the network has none.

    Raises:
        ModelError: it is no prototxt.
        DataError: there are several.
    """
    prototxt = read_prototxt(path)
    found = [(layer, line) for layer, line in prototxt.layers() if _reads_samples(layer)]
    testing = [pair for pair in found if included(prototxt, *pair)]
    chosen = testing or found
    if len(chosen) > 1:
        chosen = [pair for pair in chosen if pair[0].top and pair[0].top[0] in inputs] or chosen
    if len(chosen) > 1:
        names = ", ".join(layer.name for layer, _ in chosen)
        raise DataError(f"{path} has several data layers ({names}): give --data and --preprocess")
    return data_layer_of(prototxt, *chosen[0], training=not testing) if chosen else None


def data_layer_of(
    prototxt: Prototxt, layer: Message, line: int, *, training: bool = False
) -> DataLayer | None:
    """A layer as one that reads samples; None where it is none."""
    if not _reads_samples(layer):
        return None
    return DataLayer(
        prototxt.path,
        _KINDS[layer.type],
        layer,
        f"{prototxt.path}, line {line}: layer {layer.name!r}",
        training,
        tuple(sorted({unknown.name for unknown in prototxt.unknown_in(line)})),
    )


def _reads_samples(layer: Message) -> bool:
    return layer.type in _KINDS and not layer.bottom
