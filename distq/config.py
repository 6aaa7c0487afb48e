"""The options of every job, as the command line, job files and Python give them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    field_validator,
)
from pydantic_core import PydanticCustomError

from distq.errors import UsageError, one_of
from distq.named_values import InputShapes, InputValues, StatePairs
from distq.targets import TARGETS
from distq.targets.target import ConcatRule, Scheme, WeightBits
from distq.urls import shown, why_unusable

MethodName = Literal["auto", "max", "kl", "symkl", "jsd", "admm", "aciq", "percentile", "mse"]
CostName = Literal["macs", "layers", "latency"]
Rounding = Literal["gptq", "nearest"]
FloatIfFaster = Literal["rule", "measured", "never"]
StrategyName = Literal["default", "grid", "bitmain", "tpu-mlir"]


def _split_names(value: object) -> object:
    if isinstance(value, str):
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if value.strip() and not names:
            raise ValueError("names nothing")
        return names
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
"""Layer names; a string is split at commas."""


def _lines(value: object) -> object:
    """Combinations, one a line; of several texts the lines of each."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        return value
    return tuple(line.strip() for text in texts for line in str(text).splitlines() if line.strip())


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _known_target(value: object) -> object:
    if isinstance(value, str) and value in TARGETS:
        return value
    known = one_of(map(repr, TARGETS))
    raise PydanticCustomError("target_name", "Input should be {known}", {"known": known})


TargetName = Annotated[str, BeforeValidator(_known_target)]
"""A name in ``TARGETS``."""


def _split_measures(value: object) -> object:
    value = _split_names(value)
    several = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(one) if isinstance(one, os.PathLike) else one for one in several)


def measure_key(value: object) -> str:
    """What tells a measure: its name or file, or the key of one made in Python."""
    return value if isinstance(value, str) else str(getattr(value, "key", repr(value)))


Measures = Annotated[
    tuple[Annotated[SkipValidation[Any], PlainSerializer(measure_key, when_used="json")], ...],
    BeforeValidator(_split_measures),
]
"""Names of measures, Python files, or measures made in Python; a string is split at commas."""


def _one_measure(value: object) -> object:
    return str(value) if isinstance(value, os.PathLike) else value


DEFAULT_DIFF = "nmse"

Diff = Annotated[
    SkipValidation[Any], BeforeValidator(_one_measure), PlainSerializer(measure_key, when_used="json")
]
"""The name of a measure, a Python file, or a measure made in Python."""

CHOICES: Mapping[str, Collection[str]] = {"target": TARGETS}
"""Values of the options that take one of a table's names."""


def joined_files(value: object) -> object:
    """Several files as one text with commas between, as the command line has them."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) and value else value


Files = Annotated[Path | None, BeforeValidator(joined_files)]
"""A file, or one for each input of a model: a list, or a text with commas between."""

Place = Annotated[Path, PlainSerializer(shown, when_used="json-unless-none")]
"""A path or a URL."""


class CommonOptions(BaseModel):
    """Where a job runs and which samples it takes; shared by every command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["ray", "local"] = "ray"
    workers: Annotated[int, Field(ge=1)] | None = None
    device: Annotated[str, Field(pattern=r"^(cpu|auto|cuda(:\d+)?)$")] = "cpu"
    address: str | None = None
    seed: int = 0
    shuffle: bool = False
    allow_code: bool = False
    skip_bad: Annotated[int, Field(ge=0)] = 0
    input_config: Path | None = None
    shard_size: Annotated[int, Field(ge=1)] = 8
    cache_memory: Annotated[int, Field(ge=1)] | None = None
    cpus_per_worker: Annotated[int, Field(ge=1, le=256)] | None = None
    gpus_per_worker: Annotated[float, Field(gt=0, le=1)] | None = None
    decode_workers: Annotated[int, Field(ge=1, le=256)] | None = None
    stage_data: Path | None = None
    wait_for_workers: Annotated[int, Field(ge=0)] = 0
    retries: Annotated[int, Field(ge=0)] = 3
    unit_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("*")
    @classmethod
    def _usable(cls, value: object) -> object:
        """Refuse a path that no file can have before anything is computed for it."""
        reason = why_unusable(value) if isinstance(value, Path) else None
        if reason is not None:
            raise PydanticCustomError("path", "{reason}", {"reason": reason})
        return value


class LayerOptions(CommonOptions):
    """What a user sets for single layers, and for the form of the network as a whole."""

    layer_config: Path | None = None
    float_layers: Names = ()
    float_inputs: Names = ()
    float_outputs: Names = ()
    float_blocks: Names = ()
    float_depthwise: bool = False
    channel_scales: bool | None = None  # where the target takes them
    conv_groups: Annotated[int, Field(ge=2, le=64)] | None = None
    concat: ConcatRule = "auto"
    per_tensor_weights: bool = False
    weight_bits: WeightBits = "auto"
    quantize_front_end: bool = False
    quantize_shares: bool = False
    float_if_faster: FloatIfFaster = "rule"
    input_shape: InputShapes = ()
    input_value: InputValues = ()
    state: StatePairs = ()
    sequence: Annotated[int, Field(ge=1)] | None = None

    _bits = field_validator("weight_bits", mode="before")(_text)


LAYER_OPTIONS = tuple(name for name in LayerOptions.model_fields if name not in CommonOptions.model_fields)
"""The options of :class:`LayerOptions` alone."""


class CalibrateOptions(LayerOptions):
    """Options of ``distq calibrate``; paths are as seen from the current folder."""

    model: Path
    weights: Path | None = None
    data: Place | None = None
    out: Path
    preprocess: Files = None
    labels: Place | None = None
    samples: Annotated[int, Field(ge=0)] = 128
    holdout: Annotated[int, Field(ge=0)] | None = None
    holdout_data: Place | None = None
    method: MethodName = "auto"
    bins: Annotated[int, Field(ge=128)] = 2048
    scheme: Scheme = "auto"
    target: TargetName = "ort"
    int16_layers: Names = ()
    rounding: Rounding = "gptq"
    bias_correction: bool = True
    measure: Measures = ()
    annotations: Path | None = None
    dump_dist: Path | None = None
    load_dist: Path | None = None
    table: Path | None = None
    report: bool = False
    resume: bool = False


class TuneOptions(CalibrateOptions):
    """Options of ``distq tune``: all of calibrate and those of the search."""

    tune_samples: Annotated[int, Field(ge=1)] = 64
    diff: Diff = DEFAULT_DIFF
    strategy: StrategyName = "default"
    effort: Annotated[int, Field(ge=1, le=5)] = 3
    int16_budget: Annotated[int, Field(ge=0)] = 0
    float_budget: Annotated[int, Field(ge=0)] = 0
    equalize: bool | None = None  # by effort
    layers: Names = ()
    ignore_layers: Names = ()
    time: Annotated[str, BeforeValidator(_text), Field(pattern=r"^\d+(\.\d+)?[smh]?$")] | None = None


class AutoOptions(TuneOptions):
    """Options of ``distq auto``: all of tune, and what is to be reached at which cost."""

    tune_samples: Annotated[int, Field(ge=1)] = 128
    float_if_faster: Literal["rule", "never"] = "rule"  # --cost latency measures
    goal: Annotated[str, Field(pattern=r"^(sqnr|top1|top5|map|map50|shared|lines|score):[-+]?\d+(\.\d+)?$")]
    cost: CostName = "macs"
    tries: Annotated[tuple[str, ...], BeforeValidator(_lines)] = ()


class EvaluateOptions(CommonOptions):
    """Options of ``distq eval``."""

    candidate: Path
    against: Path | None = None
    weights: Path | None = None
    data: Place | None = None
    preprocess: Files = None
    labels: Place | None = None
    samples: Annotated[int, Field(ge=0)] = 0
    skip: Annotated[int, Field(ge=0)] = 0
    measure: Measures = ()
    annotations: Path | None = None
    speed: bool = False
    input_shape: InputShapes = ()
    state: StatePairs = ()
    sequence: Annotated[int, Field(ge=1)] | None = None


class DiffOptions(LayerOptions):
    """Options of ``distq diff``."""

    model: Path
    weights: Path | None = None
    table: Path
    float_if_faster: Literal["rule", "never"] = "rule"  # what was measured goes by name
    data: Place | None = None
    preprocess: Files = None
    samples: Annotated[int, Field(ge=0)] = 128
    tune_samples: Annotated[int, Field(ge=1)] = 16
    scheme: Scheme = "auto"
    target: TargetName = "ort"
    rounding: Rounding = "gptq"
    bias_correction: bool = True
    diff: Diff = DEFAULT_DIFF
    int8_layers: Names = ()
    progressive: bool = False
    sensitivity: bool = False


MOST_BINS = 1 << 20
"""Distributions are no finer: more bins than that share out the same counts, and take memory per tensor."""


class ConvertOptions(BaseModel):
    """Options of ``distq convert`` for tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Path
    to: str
    out: Path
    source_format: str | None = None
    model: Path | None = None
    weights: Path | None = None
    names: Path | None = None
    convention: Literal[127, 128] | None = None
    source_convention: Literal[127, 128] | None = None


def require_bins(bins: int) -> None:
    """Refuse a number of histogram bins that is not a multiple of 128, or beyond reason.

    Raises:
        UsageError: naming the nearest number that is.
    """
    if bins > MOST_BINS:
        raise UsageError(f"--bins {bins} is over the limit of {MOST_BINS}: try --bins 2048")
    if bins % 128:
        nearest = max(128, round(bins / 128) * 128)
        raise UsageError(f"--bins {bins} is not a multiple of 128: try --bins {nearest}")
