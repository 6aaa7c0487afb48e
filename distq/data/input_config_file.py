"""Read SigmaStar's ``input_config.ini``; what it says is :mod:`distq.data.input_config`'s."""

from __future__ import annotations

import configparser
import math
from collections.abc import Sequence
from pathlib import Path

from distq.data.input_config import ConfiguredInput, InputConfig
from distq.errors import PreprocessError
from distq.regular import read_regular

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
