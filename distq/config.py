"""The options of every job, as the command line, job files and Python give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from distq.errors import UsageError, one_of
from distq.targets import TARGETS
from distq.targets.target import Scheme
from distq.urls import shown

MethodName = Literal["auto", "max", "kl", "symkl", "jsd", "admm", "aciq", "percentile", "mse"]
Rounding = Literal["gptq", "nearest"]
StrategyName = Literal["default", "grid", "bitmain", "tpu-mlir"]


def _split_names(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
"""Layer names; a string is split at commas."""


def _known_target(value: object) -> object:
    if isinstance(value, str) and value in TARGETS:
        return value
    known = one_of(map(repr, TARGETS))
    raise PydanticCustomError("target_name", "Input should be {known}", {"known": known})


TargetName = Annotated[str, BeforeValidator(_known_target)]
"""A name in ``TARGETS``."""

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
    cache_memory: Annotated[int, Field(ge=1)] = 1024
    cpus_per_worker: Annotated[int, Field(ge=1, le=256)] | None = None
    gpus_per_worker: Annotated[float, Field(gt=0, le=1)] | None = None
    decode_workers: Annotated[int, Field(ge=1, le=256)] | None = None
    stage_data: Path | None = None
    wait_for_workers: Annotated[int, Field(ge=0)] = 0
    retries: Annotated[int, Field(ge=0)] = 3


class CalibrateOptions(CommonOptions):
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
    dump_dist: Path | None = None
    load_dist: Path | None = None
    table: Path | None = None
    resume: bool = False


class TuneOptions(CalibrateOptions):
    """Options of ``distq tune``: all of calibrate and those of the search."""

    tune_samples: Annotated[int, Field(ge=1)] = 64
    strategy: StrategyName = "default"
    effort: Annotated[int, Field(ge=1, le=5)] = 3
    int16_budget: Annotated[int, Field(ge=0)] = 0
    float_budget: Annotated[int, Field(ge=0)] = 0
    equalize: bool = True
    layers: Names = ()
    ignore_layers: Names = ()


class EvaluateOptions(CommonOptions):
    """Options of ``distq eval``."""

    candidate: Path
    against: Path | None = None
    weights: Path | None = None
    data: Place
    preprocess: Files = None
    labels: Place | None = None
    samples: Annotated[int, Field(ge=0)] = 0


class DiffOptions(CommonOptions):
    """Options of ``distq diff``."""

    model: Path
    weights: Path | None = None
    table: Path
    data: Place
    preprocess: Files = None
    samples: Annotated[int, Field(ge=0)] = 128
    tune_samples: Annotated[int, Field(ge=1)] = 16
    scheme: Scheme = "auto"
    target: TargetName = "ort"
    rounding: Rounding = "gptq"
    bias_correction: bool = True
    int8_layers: Names = ()
    progressive: bool = False
    sensitivity: bool = False


def require_bins(bins: int) -> None:
    """Refuse a number of histogram bins that is not a multiple of 128.

    Raises:
        UsageError: naming the nearest number that is.
    """
    if bins % 128:
        nearest = max(128, round(bins / 128) * 128)
        raise UsageError(f"--bins {bins} is not a multiple of 128: try --bins {nearest}")
