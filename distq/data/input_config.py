"""SigmaStar's ``input_config.ini``: formats, means and widths of a model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distq.data.layout import image_layout
from distq.data.preprocess import Preprocessing
from distq.data.samples import InputSpec, shape_text
from distq.errors import PreprocessError

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
