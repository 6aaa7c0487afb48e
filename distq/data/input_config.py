"""SigmaStar's ``input_config.ini``: formats, means and widths of a model's inputs and outputs."""

from __future__ import annotations

import configparser
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distq.data.layout import image_layout
from distq.data.preprocess import Preprocessing
from distq.data.samples import InputSpec, shape_text
from distq.errors import PreprocessError
from distq.regular import read_regular

_COLORS = {
    "RGB": "rgb",
    "BGR": "bgr",
    "GRAY": "gray",
    "RGBA": "rgb",
    "ARGB": "rgb",
    "BGRA": "bgr",
    "ABGR": "bgr",
}
"""Order of channels that a network was trained with; alpha is not fed to it."""

_KEYS = {
    "INPUT_CONFIG": {
        "inputs",
        "input_formats",
        "training_input_formats",
        "quantizations",
        "mean",
        "mean_red",
        "mean_green",
        "mean_blue",
        "std_value",
        "input_shapes",
    },
    "OUTPUT_CONFIG": {"outputs", "dequantizations"},
    "CONV_CONFIG": {"tensor_arrays", "input_format"},
}
_ALL_INT16, _ALL_UINT8 = "ALL_INT16", "ALL_UINT8"


@dataclass(frozen=True)
class ConfiguredInput:
    """What the file says of one input.

    Attributes:
        name: of the input.
        format: in which a device gives it, such as ``YUV_NV12``.
        training_format: in which the network was trained, such as ``RGB``.
        quantized: whether the device gives integers.
        mean: subtracted, per channel in the order red, green, blue; one for all; or none.
        std: what is left is divided by, in the same order.
        shape: of the input; None where the file has none.
    """

    name: str
    format: str
    training_format: str
    quantized: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, ...] | None

    def steps(self, spec: InputSpec) -> dict[str, Any] | None:
        """Steps of a preprocessing file: resized, in the order of training, ``(x - mean) / std``.

        None for raw data, which has no color and comes as arrays.

        Raises:
            PreprocessError: the input is no image of a known size, or its means do not fit its channels.
        """
        color = _COLORS.get(self.training_format)
        if color is None or len(spec.shape) != 4:
            return None
        layout = image_layout(spec)
        height, width = spec.shape[1:3] if layout == "nhwc" else spec.shape[2:]
        steps: list[dict[str, Any]] = []
        if height is not None and width is not None:
            steps.append({"resize": {"height": height, "width": width}})
        steps += [
            {"color": color},
            {"mean": self._ordered(self.mean or (0.0,), color, "mean")},
            {"std": self._ordered(self.std, color, "std_value")},
        ]
        return {"steps": steps, "layout": layout}

    def _ordered(self, values: tuple[float, ...], color: str, key: str) -> list[float]:
        """Values in the order of the channels: the file has them as red, green, blue."""
        if color == "gray":
            if len(set(values)) > 1:
                raise PreprocessError(f"input_config: {key} of {self.name} has {len(values)} values for GRAY")
            return [values[0]]
        if len(values) not in {1, 3}:
            raise PreprocessError(f"input_config: {key} of {self.name} has {len(values)} values: give 1 or 3")
        return list(values[::-1] if color == "bgr" else values)


@dataclass(frozen=True)
class InputConfig:
    """An ``input_config.ini``.

    Attributes:
        path: of the file.
        inputs: in its order.
        outputs: names, in its order; empty where it has none.
        dequantized: of each output, whether the device gives real numbers.
        int16_tensors: that convolutions read in 16 bits.
        all_int16: whether all of them read 16 bits.
        passed_over: what distq makes nothing of, each in a few words.
    """

    path: Path
    inputs: tuple[ConfiguredInput, ...]
    outputs: tuple[str, ...]
    dequantized: tuple[bool, ...]
    int16_tensors: tuple[str, ...]
    all_int16: bool
    passed_over: tuple[str, ...]

    def check(self, inputs: Sequence[InputSpec], outputs: Sequence[str]) -> None:
        """Check that the file is of a model: names and their order are the model's.

        Raises:
            PreprocessError: they are not.
        """
        wanted = [spec.name for spec in inputs]
        named = [configured.name for configured in self.inputs]
        for what, ours, theirs in (("inputs", named, wanted), ("outputs", list(self.outputs), list(outputs))):
            if ours and ours != theirs:
                raise PreprocessError(
                    f"{self.path}: {what} are {', '.join(ours)}, the model's are {', '.join(theirs)}: "
                    "write these, in this order"
                )
        for configured, spec in zip(self.inputs, inputs, strict=True):
            shape = configured.shape
            fits = shape is None or (
                len(shape) == len(spec.shape)
                and all(size in {None, own} for size, own in zip(spec.shape, shape, strict=True))
            )
            if not fits and shape is not None:
                raise PreprocessError(
                    f"{self.path}: input_shapes has {shape_text(shape)} for {spec.name}, "
                    f"the model takes {shape_text(spec.shape)}"
                )

    def remarks(self) -> list[str]:
        """What a person should know: where distq does otherwise than the file says."""
        lines = [f"{self.path}: {text}" for text in self.passed_over]
        integers = [c.name for c in self.inputs if not c.quantized]
        if integers:
            lines.append(
                f"{self.path}: quantizations=FALSE of {', '.join(integers)} changes nothing: "
                "the INT8 network takes float and quantizes it by itself"
            )
        raw = [name for name, real in zip(self.outputs, self.dequantized, strict=True) if not real]
        if raw:
            lines.append(
                f"{self.path}: dequantizations=FALSE of {', '.join(raw)} changes nothing: "
                "the INT8 network gives float; scales of its outputs are in thresholds.json"
            )
        return lines

    def preprocessing(self, inputs: Sequence[InputSpec]) -> Preprocessing | None:
        """What makes images of the training format out of files; None where no input is an image.

        Raises:
            PreprocessError: a mean or std does not fit.
        """
        named = {spec.name: spec for spec in inputs}
        steps = {c.name: c.steps(named[c.name]) for c in self.inputs if c.name in named}
        images = {name: content for name, content in steps.items() if content is not None}
        return Preprocessing.model_validate({"inputs": images}) if images else None


def read_input_config(path: Path) -> InputConfig:
    """Read the file; values may stand in quotes and end in a semicolon, as the vendor's tools take them.

    Raises:
        PreprocessError: it cannot be read, lacks a key, or has unequal numbers of inputs, formats and so on.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_regular(path).decode("utf-8-sig"))
    except OSError as error:
        raise PreprocessError(
            f"input_config {path} cannot be read: {error.strerror}; give SigmaStar's input_config.ini"
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise PreprocessError(f"input_config {path}: {' '.join(str(error).split())}") from None
    return _Reader(path, parser).config()


class _Reader:
    """Takes values out of a parsed file."""

    def __init__(self, path: Path, parser: configparser.ConfigParser) -> None:
        self.path = path
        self.sections = {name.upper(): dict(parser[name]) for name in parser.sections()}

    def config(self) -> InputConfig:
        names = self.names("INPUT_CONFIG", "inputs")
        if not names:
            raise self.wrong("[INPUT_CONFIG] inputs is missing: write the names of the model's inputs")
        formats = [text.upper() for text in self.each("input_formats", names, "RGB")]
        training = [text.upper() for text in self.each("training_input_formats", names, "")]
        quantized = [self.flag("quantizations", text) for text in self.each("quantizations", names, "TRUE")]
        means = self.means(names)
        stds = [self.numbers("std_value", text) for text in self.each("std_value", names, "1")]
        shapes = self.shapes(names)
        inputs = tuple(
            ConfiguredInput(
                name, formats[i], training[i] or formats[i], quantized[i], means[i], stds[i], shapes[i]
            )
            for i, name in enumerate(names)
        )
        if any(0.0 in c.std for c in inputs):
            raise self.wrong("std_value is 0: the pixels are divided by it")
        outputs = self.names("OUTPUT_CONFIG", "outputs")
        flags = self.names("OUTPUT_CONFIG", "dequantizations") or ["TRUE"] * len(outputs)
        if len(flags) != len(outputs):
            raise self.wrong(f"{len(flags)} dequantizations for {len(outputs)} outputs: give one for each")
        dequantized = tuple(self.flag("dequantizations", text) for text in flags)
        width = self.value("CONV_CONFIG", "input_format").upper()
        if width not in {"", _ALL_INT16, _ALL_UINT8}:
            raise self.wrong(f"input_format is {width}: distq knows {_ALL_INT16} and {_ALL_UINT8}")
        tensors = () if width == _ALL_UINT8 else tuple(self.names("CONV_CONFIG", "tensor_arrays"))
        return InputConfig(
            path=self.path,
            inputs=inputs,
            outputs=tuple(outputs),
            dequantized=dequantized,
            int16_tensors=tensors,
            all_int16=width == _ALL_INT16 and not tensors,
            passed_over=tuple(self.unknown()),
        )

    def value(self, section: str, key: str) -> str:
        """The text of a key, without a semicolon and quotes; empty where it is not there."""
        text = self.sections.get(section, {}).get(key, "")
        return text.strip().rstrip(";").strip().strip("'\"").strip()

    def names(self, section: str, key: str) -> list[str]:
        parts = (part.strip().strip("'\"").strip() for part in self.value(section, key).split(","))
        return [part for part in parts if part]

    def each(self, key: str, names: Sequence[str], default: str) -> list[str]:
        """A value for each input."""
        found = self.names("INPUT_CONFIG", key) or [default] * len(names)
        if len(found) != len(names):
            raise self.wrong(f"{len(found)} {key} for {len(names)} inputs: give one for each")
        return found

    def means(self, names: Sequence[str]) -> list[tuple[float, ...]]:
        """Of each input: ``mean`` with colons between channels, or three keys; red, green, blue."""
        if self.value("INPUT_CONFIG", "mean"):
            return [self.numbers("mean", text) for text in self.each("mean", names, "0")]
        channels = [self.each(key, names, "0") for key in ("mean_red", "mean_green", "mean_blue")]
        return [
            tuple(self.numbers("mean_red, mean_green, mean_blue", text)[0] for text in one)
            for one in zip(*channels, strict=True)
        ]

    def shapes(self, names: Sequence[str]) -> list[tuple[int, ...] | None]:
        """Of each input: sizes with commas, inputs apart by a colon."""
        text = self.value("INPUT_CONFIG", "input_shapes")
        if not text:
            return [None] * len(names)
        parts = text.split(":")
        if len(parts) != len(names):
            raise self.wrong(f"{len(parts)} input_shapes for {len(names)} inputs: give one for each")
        try:
            return [tuple(int(number) for number in part.split(",")) for part in parts]
        except ValueError:
            raise self.wrong(f"input_shapes is {text}: write whole numbers with commas between") from None

    def numbers(self, key: str, text: str, between: str = ":") -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(between))
        except ValueError:
            values = (math.nan,)
        if not all(map(math.isfinite, values)):
            raise self.wrong(f"{key} is {text}: write numbers with {between!r} between them")
        return values

    def flag(self, key: str, text: str) -> bool:
        if text.upper() not in {"TRUE", "FALSE"}:
            raise self.wrong(f"{key} is {text}: write TRUE or FALSE")
        return text.upper() == "TRUE"

    def unknown(self) -> list[str]:
        """Sections and keys without a meaning here."""
        return [
            f"[{section}] {key} means nothing to distq and is passed over"
            for section, keys in self.sections.items()
            for key in keys
            if key not in _KEYS.get(section, set())
        ]

    def wrong(self, text: str) -> PreprocessError:
        return PreprocessError(f"input_config {self.path}: {text}")
