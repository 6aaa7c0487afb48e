"""How a decoded image becomes a model input: the preprocessing file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, ValidationInfo, model_validator

from distq.data.image_params import from_image_params
from distq.data.layout import Layout
from distq.data.picture import Picture, Step
from distq.data.plugin import Plugin, load_plugin
from distq.data.resize import Resize
from distq.data.steps import ARITHMETIC, parse_step
from distq.data.strict import StrictModel, one_line, unknown
from distq.data.value_steps import Color
from distq.errors import PreprocessError
from distq.files import sha256_bytes
from distq.regular import read_regular
from distq.yaml_text import parse_yaml

_REMEDY = "give a .yaml, an image_params .json or a .py"


def _parsed(raw: object, info: ValidationInfo) -> object:
    return parse_step(raw, info.context)


Steps = Annotated[
    tuple[Annotated[SerializeAsAny[Step], BeforeValidator(_parsed)], ...],
    BeforeValidator(lambda value: () if value is None else value),
]


class InputSteps(StrictModel):
    """Steps of one input, run in this order on an image that starts as HWC uint8 BGR."""

    steps: Steps = ()
    layout: Layout = "nchw"

    @model_validator(mode="after")
    def _resize_acts_on_uint8(self) -> Self:
        arithmetic = False
        for step in self.steps:
            if arithmetic and isinstance(step, Resize):
                raise ValueError("resize acts on uint8: put it before scale, mean and std")
            arithmetic = arithmetic or isinstance(step, ARITHMETIC)
        return self

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the steps.

        Args:
            pixels: uint8 (H, W, C); one channel is gray, three are BGR.

        Returns:
            (1, C, H, W) or (1, H, W, C); float32, or uint8 where no step does arithmetic.

        Raises:
            PreprocessError: a step cannot be applied to this picture.
        """
        picture = Picture(pixels, "gray" if pixels.shape[2] == 1 else "bgr")
        for step in self.steps:
            picture = step.apply(picture)
        array = picture.array if self.layout == "nhwc" else picture.array.transpose(2, 0, 1)
        return np.ascontiguousarray(array)[np.newaxis]

    def describe(self) -> dict[str, Any]:
        """The content as a preprocessing file has it, defaults included."""
        return {"layout": self.layout, "steps": [{step.key: step.describe()} for step in self.steps]}

    def as_file(self) -> dict[str, Any]:
        """The content ready to be written to a preprocessing file: with the paths that are in it."""
        return {"steps": [{step.key: step.as_file()} for step in self.steps], "layout": self.layout}


class Preprocessing(StrictModel):
    """A preprocessing file: steps per model input, ``*`` for every input that is not named."""

    inputs: Annotated[dict[str, InputSteps], Field(min_length=1)]

    def __hash__(self) -> int:
        return hash(self.sha256)

    def describe(self) -> dict[str, Any]:
        """The content, canonical: what two files must share to be the same preprocessing."""
        return {"inputs": {name: self.inputs[name].describe() for name in sorted(self.inputs)}}

    def as_file(self) -> dict[str, Any]:
        """The content ready to be written to a preprocessing file: with the paths that are in it."""
        return {"inputs": {name: steps.as_file() for name, steps in self.inputs.items()}}

    @cached_property  # a worker's cache hashes the preprocessing at every look-up
    def sha256(self) -> str:
        """SHA-256 of ``describe()`` as JSON with sorted keys."""
        return sha256_bytes(json.dumps(self.describe(), sort_keys=True, separators=(",", ":")).encode())

    def check_inputs(self, names: Iterable[str]) -> None:
        """Check that every input named here is one of the model's.

        Raises:
            PreprocessError: naming the one that is not, and the nearest that is.
        """
        known = list(names)
        for name in self.inputs:
            if name != "*" and name not in known:
                raise PreprocessError(f"preprocessing: {unknown('model input', name, [*known, '*'])}")

    def for_input(self, name: str) -> InputSteps:
        """The steps of a model input.

        Raises:
            PreprocessError: neither the input nor ``*`` is there.
        """
        steps = self.inputs.get(name) or self.inputs.get("*")
        if steps is None:
            raise PreprocessError(
                f"preprocessing has no steps for input {name!r}: add it, or '*' for every input"
            )
        return steps


def default_steps(channels: int | None, layout: Layout = "nchw") -> InputSteps:
    """Without a file: RGB (gray for a model input of one channel), in the input's layout, unscaled."""
    return InputSteps(steps=(Color(value="gray" if channels == 1 else "rgb"),), layout=layout)


def preprocessing_files(given: Path | None) -> list[Path]:
    """The files of ``--preprocess``: none, one, or several with commas between, one for each input."""
    if given is None:
        return []
    if "," not in str(given) or given.exists():
        return [given]
    return [Path(part.strip()) for part in str(given).split(",") if part.strip()]


def load_preprocessing(path: Path | None, allow_code: bool = False) -> Preprocessing | Plugin | None:
    """Read a preprocessing file.

    Args:
        path: YAML (steps per input), JSON (``image_params.json``), a Python file with
            ``image_preprocess(img_path, norm=True)``, or None.
        allow_code: Whether a Python file may be run.

    Returns:
        The preprocessing; None where ``path`` is None.

    Raises:
        PreprocessError: the file is missing or wrong, or Python without ``allow_code``.
    """
    if path is None:
        return None
    try:
        data = read_regular(path)
    except OSError as error:
        raise PreprocessError(
            f"preprocessing file {path} cannot be read: {error.strerror}; {_REMEDY}"
        ) from None
    suffix = path.suffix.lower()
    if suffix == ".py":
        return load_plugin(path, data, allow_code=allow_code)
    if suffix not in {".yaml", ".yml", ".json"}:
        raise PreprocessError(f"preprocessing file {path} has another ending: {_REMEDY}")
    try:
        content = json.loads(data) if suffix == ".json" else parse_yaml(data)
        if suffix == ".json":
            content = from_image_params(content)
    except ValidationError as error:
        raise PreprocessError(f"preprocessing file {path}: {one_line(error)}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise PreprocessError(f"preprocessing file {path} is not valid {suffix[1:]}: {reason}") from None
    return preprocessing_of(content, f"preprocessing file {path}", path.absolute().parent)


def preprocessing_of(content: object, where: str, folder: Path) -> Preprocessing:
    """Make a preprocessing of a file's content.

    Args:
        content: What the file has: a mapping with ``inputs``.
        where: What to call it in an error.
        folder: Where relative paths in it start.

    Raises:
        PreprocessError: it is wrong.
    """
    if not isinstance(content, dict):
        raise PreprocessError(f"{where} is empty or no mapping: it starts with 'inputs:'")
    try:
        return Preprocessing.model_validate(content, context={"folder": folder})
    except ValidationError as error:
        raise PreprocessError(f"{where}: {one_line(error)}") from None
