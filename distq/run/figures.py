"""What measures and the stopwatch say, as parts of a result."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Result(BaseModel):
    """Something that a job gives back, or a part of it."""

    model_config = ConfigDict(frozen=True)


def _unbounded(value: object) -> object:
    return math.inf if value is None else value


def _bounded(value: object) -> object:
    return None if isinstance(value, float) and math.isinf(value) else value


Unbounded = Annotated[float, BeforeValidator(_unbounded)]
"""A figure that may be infinite, which JSON writes as null."""

Bounded = Annotated[float | None, BeforeValidator(_bounded)]
"""A figure that is None where it has no finite value."""


class ComparedFigures(Result):
    """What a measure says of the calibrated model, of the tuned one, and of float where it can.

    Attributes:
        measure: its name.
        higher_is_better: of its first figure.
        before, after, float: figures by name.
    """

    measure: str
    higher_is_better: bool
    before: dict[str, Unbounded]
    after: dict[str, Unbounded] | None = None
    float: dict[str, Unbounded] | None = None


class Latency(Result):
    """What one model takes on this machine.

    Attributes:
        median_ms: of a forward of one sample.
        low_ms, high_ms: between which four of five forwards lie.
        memory_mb: peak of the process above what it had before it opened the model, in MiB; not a GPU's.
        file_mb: of the model's file and the weights beside it, in MiB.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    memory_mb: float
    file_mb: float


class Speed(Result):
    """Models timed side by side on this machine.

    Attributes:
        provider: ONNX Runtime's execution provider, such as CPUExecutionProvider.
        threads: of a session.
        runs: forwards of each model that were timed.
        candidate: the model measured.
        against: the float model, where there is one.
        ratio: float's median over the candidate's: above 1 the candidate is faster.
    """

    provider: str
    threads: int
    runs: int
    candidate: Latency
    against: Latency | None = None
    ratio: float | None = None


class MeasureFigures(Result):
    """What a measure says.

    Attributes:
        measure: its name.
        higher_is_better: of its first figure.
        candidate: figures of the model measured, by name.
        against: those of the float model, where the measure is of one model alone.
    """

    measure: str
    higher_is_better: bool
    candidate: dict[str, Unbounded]
    against: dict[str, Unbounded] | None = None
