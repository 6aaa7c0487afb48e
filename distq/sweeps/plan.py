"""``distq sweep --dry-run``: the runs of a sweep and what they cost, in forwards of whole networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from distq.config import TuneOptions
from distq.errors import DistqError
from distq.graph.plan import Plan
from distq.run.prepare import prepare_model
from distq.run.rundir import RunDir
from distq.run.samples import choose_samples, described_data
from distq.search.strategy import STRATEGIES
from distq.search.tensor_search import Scores
from distq.stages.float_means import MOST_IMAGES
from distq.stages.method import METHODS, MOST_COMPARED
from distq.stages.thresholds import AUTO
from distq.sweeps.matrix import Sweep, SweepRun, by_network

_BEHIND = 0.5  # of a network lies behind a tensor, on average


class PlannedRun(BaseModel):
    """One run of a plan.

    Attributes:
        name, command, out: as in the result.
        finished: it is there already, and is only read with ``--resume``.
        error: why it cannot start.
        fp32_forwards: of the float network, when it runs alone.
        shared_forwards: of these, computed by an earlier run of the sweep.
        int8_forwards: of INT8 networks; of a search about what it takes where nothing is gained.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    command: str
    out: Path
    finished: bool = False
    error: str | None = None
    fp32_forwards: int = 0
    shared_forwards: int = 0
    int8_forwards: int = 0


class SweepPlan(BaseModel):
    """What a sweep would do, in the order it would."""

    model_config = ConfigDict(frozen=True)

    out: Path
    runs: tuple[PlannedRun, ...]

    @property
    def fp32_forwards(self) -> int:
        """Of all runs that are left, what is shared counted once."""
        return sum(run.fp32_forwards - run.shared_forwards for run in self.runs if not run.finished)

    @property
    def int8_forwards(self) -> int:
        """Of all runs that are left."""
        return sum(run.int8_forwards for run in self.runs if not run.finished)


def plan_sweep(wanted: Sweep) -> SweepPlan:
    """Open every model and data set, decode nothing, and count."""
    planned = []
    for runs in by_network(wanted.runs):
        known: set[tuple[str, tuple[str, ...]]] = set()
        planned += [_planned(run, known) for run in runs]
    return SweepPlan(out=wanted.out, runs=tuple(planned))


def _planned(run: SweepRun, known: set[tuple[str, tuple[str, ...]]]) -> PlannedRun:
    base = PlannedRun(
        name=run.name, command=run.command, out=run.options.out, finished=RunDir(run.options.out).finished
    )
    options = run.options
    try:
        loaded, plan = prepare_model(options)
        data, holdout_data, _ = described_data(options, loaded)
        selection = choose_samples(options, data, holdout_data)
    except DistqError as error:
        return base.model_copy(update={"error": str(error)})
    observed = len(selection.calibration) if options.table is None and options.load_dist is None else 0
    means = min(MOST_IMAGES, len(selection.calibration))
    compared = len(selection.tuning) + len(selection.holdout)
    layers = tuple(layer.name for layer in plan.layers)
    parts = {("observe", tuple(q.name for q in plan.in_table)): observed, ("means", layers): means}
    shared = sum(count for part, count in parts.items() if part in known)
    known.update(parts)
    corrected = means if options.bias_correction else 0
    fp32, int8 = observed + means + compared, corrected + compared
    if options.method == AUTO and options.table is None:
        tried = min(MOST_COMPARED, len(selection.calibration))
        fp32, int8 = fp32 + 2 * tried, int8 + corrected + (2 + len(METHODS)) * tried
    if isinstance(options, TuneOptions):
        fp32 += len(selection.tuning)
        int8 += compared + _search_forwards(options, plan, len(selection.tuning))
    return base.model_copy(update={"fp32_forwards": fp32, "shared_forwards": shared, "int8_forwards": int8})


def _search_forwards(options: TuneOptions, plan: Plan, images: int) -> int:
    """Choosing a start, and a search in which every candidate is worse than the start."""
    strategy = STRATEGIES[options.strategy](options.effort)
    tensor = strategy.search(1.0, 2.0, images)
    scored = 0
    while wanted := tensor.ask():
        count = tensor.wanted_images or images
        scored += len(wanted) * count
        tensor.tell(_worse(wanted, count))
    quantizers = sum(not (quantizer.keep_range or quantizer.fixed) for quantizer in plan.quantizers)
    chooses = options.strategy == "default" and options.table is None and options.method != AUTO
    start = (1 + len(METHODS)) * images if chooses else 0
    return start + round(scored * quantizers * _BEHIND)


def _worse(wanted: Sequence[float], images: int) -> Scores:
    return {threshold: np.full(images, 1.0 + abs(threshold - 1.0)) for threshold in wanted}
