"""What a sweep gives back: a row a run, the best marked; ``results.csv`` and ``results.json``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from distq.files import atomic_write
from distq.run.results import Accuracy, Cost, FloatAccuracy, RunResult
from distq.sweeps.matrix import SweepRun


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class SweepRow(_Result):
    """One run of a sweep.

    Attributes:
        name: its folder below the sweep's.
        network: model, data and preprocessing by number, from 0; only runs of one are comparable.
        varied: what tells it from the other runs.
        out: its folder.
        error: why it failed; the fields below are then None.
        images: held out.
        accuracy: of its final model on them.
        float_accuracy: of the float model.
        float_layers: how many stay float.
        cost: what it took, and would have taken alone but for its seconds.
        seconds: it took of all workers (on a half of them, half of the time counts), with what its shared
            results took when they were computed, so that the run that came first does not pay for all.
        best_for_time: no run of its network is as accurate in less time, or more accurate in the same.
        best_for_float_layers: the same with the number of float layers.
    """

    name: str
    network: int
    command: str
    varied: dict[str, str]
    out: Path
    error: str | None = None
    images: int | None = None
    accuracy: Accuracy | None = None
    float_accuracy: FloatAccuracy | None = None
    float_layers: int | None = None
    cost: Cost | None = None
    seconds: float | None = None
    best_for_time: bool = False
    best_for_float_layers: bool = False


class SweepResult(_Result):
    """All runs: network by network, in each the closest to float first, failed ones last."""

    out: Path
    rows: tuple[SweepRow, ...]
    seconds: float
    files: tuple[Path, ...]

    @property
    def failed(self) -> tuple[SweepRow, ...]:
        """Runs that failed."""
        return tuple(row for row in self.rows if row.error is not None)


def complete_row(run: SweepRun, network: int, result: RunResult, seconds: float) -> SweepRow:
    """The row of a run that came to its end."""
    held_out = result.holdout
    accuracy = None if held_out is None else (held_out.after or held_out.before)
    return SweepRow(
        name=run.name,
        network=network,
        command=run.command,
        varied=run.varied,
        out=run.options.out,
        images=None if held_out is None else held_out.images,
        accuracy=accuracy,
        float_accuracy=None if held_out is None else held_out.float,
        float_layers=len(result.float_layers),
        cost=result.cost,
        seconds=seconds,
    )


def failed_row(run: SweepRun, network: int, error: str) -> SweepRow:
    """The row of a run that did not."""
    return SweepRow(
        name=run.name,
        network=network,
        command=run.command,
        varied=run.varied,
        out=run.options.out,
        error=error,
    )


def ranked(rows: Sequence[SweepRow]) -> tuple[SweepRow, ...]:
    """Rows in the order of a result, the best marked."""
    marked = [
        row.model_copy(
            update={
                "best_for_time": _is_best(row, rows, lambda r: r.seconds),
                "best_for_float_layers": _is_best(row, rows, lambda r: r.float_layers),
            }
        )
        for row in rows
    ]
    return tuple(sorted(marked, key=lambda row: (row.network, row.error is not None, -_closeness(row))))


def _is_best(row: SweepRow, rows: Sequence[SweepRow], cost: Callable[[SweepRow], float | None]) -> bool:
    """Whether a row is on the Pareto front of accuracy and cost among the runs of its network."""
    own = cost(row)
    if row.accuracy is None or own is None:
        return False
    for other in rows:
        others = cost(other)
        if other.network != row.network or other.accuracy is None or others is None:
            continue
        gain, price = _closeness(other) - _closeness(row), others - own
        if _closeness(other) == _closeness(row):  # both may be infinite
            gain = 0.0
        if gain >= 0 and price <= 0 and (gain > 0 or price < 0):
            return False
    return True


def _closeness(row: SweepRow) -> float:
    return -math.inf if row.accuracy is None else row.accuracy.sqnr_db


def write_results(result: SweepResult) -> None:
    """Write ``results.csv`` and ``results.json``."""
    csv_path, json_path = result.files
    atomic_write(csv_path, _csv(result.rows).encode())
    atomic_write(json_path, (result.model_dump_json(indent=1) + "\n").encode())


def _csv(rows: Sequence[SweepRow]) -> str:
    axes = sorted({f"varied.{name}" for row in rows for name in row.varied})
    records = [_record(row) for row in rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*records[0], *axes], lineterminator="\n")
    writer.writeheader()
    for row, record in zip(rows, records, strict=True):
        writer.writerow({**record, **{f"varied.{name}": label for name, label in row.varied.items()}})
    return stream.getvalue()


def _record(row: SweepRow) -> dict[str, object]:
    accuracy, cost = row.accuracy, row.cost
    return {
        "name": row.name,
        "network": row.network,
        "command": row.command,
        "images": row.images,
        "sqnr_db": accuracy and accuracy.sqnr_db,
        "nmse": accuracy and accuracy.nmse,
        "cosine": accuracy and accuracy.cosine,
        "top1": accuracy and accuracy.top1,
        "top5": accuracy and accuracy.top5,
        "float_top1": row.float_accuracy and row.float_accuracy.top1,
        "float_layers": row.float_layers,
        "fp32_forwards": cost and cost.fp32_forwards,
        "int8_forwards": cost and cost.int8_forwards,
        "seconds": row.seconds,
        "best_for_time": row.best_for_time,
        "best_for_float_layers": row.best_for_float_layers,
        "error": row.error,
        "out": row.out,
    }
