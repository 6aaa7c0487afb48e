"""The thresholds of a run for other tools, and the network that they are of; also while the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from distq.errors import FileFormatError, InputError
from distq.exchange.model_file import is_caffe, network_reader
from distq.exchange.run_source import float_layers_of, table_of_run
from distq.exchange.table import ExchangeTable
from distq.graph.read import read_proto
from distq.quant.table import Table, read_table
from distq.run.best_so_far import read_best_so_far, until_it_stays
from distq.run.rundir import RunDir
from distq.run.seal import require_undamaged
from distq.run.which_run import require_run


@dataclass(frozen=True)
class RunTable:
    """A table and its network.

    Attributes:
        table: with the names of the network's tensors.
        model: the network; None where it is not there any more.
        weights: of a Caffe network; None: those beside it.
    """

    table: ExchangeTable
    model: Path | None
    weights: Path | None


@dataclass(frozen=True)
class _State:
    """What a run has by now: ``calibrated`` is of the network as it was given, ``rows`` of its last one."""

    rows: Table
    calibrated: Table
    float_layers: Iterable[str]
    int8: onnx.ModelProto | None
    note: str | None = None


def read_run_table(rundir: RunDir, model: Path | None, weights: Path | None) -> RunTable:
    """The thresholds of a run, finished or not.

    Where it evened out channels, they are of the equalized network, which computes the same. Who names
    another model, or has a Caffe network, which an ONNX file is no use for, gets those that it began with.

    Args:
        rundir: of the run.
        model: the network that the table shall be of; None: the run's.
        weights: of a Caffe network.

    Raises:
        UsageError: it is no run, or has no thresholds yet.
        InputError: a file of it is damaged.
    """
    require_run(rundir, "a run or a table")
    named = model
    if model is None:
        model, weights = _model_of_run(rundir)
    state = until_it_stays(lambda: _state(rundir))
    rows, int8, notes = state.rows, state.int8, [] if state.note is None else [state.note]
    if any(row.has_headroom for row in rows.values()):
        if _is_wanted(rundir.equalized, named, model):
            model, weights = rundir.equalized, None
            notes.append(
                "the run evened out channels, and these are the thresholds of that network: give the tool "
                f"{rundir.equalized} in place of the one that was given, or tune with --no-equalize"
            )
        else:
            rows, int8 = state.calibrated, None
            notes.append(
                "the run evened out channels, and its thresholds are of that network: these are the ones it "
                f"began with{_remedy(rundir)}"
            )
    table = table_of_run(rows, state.float_layers, int8)
    warnings = (*table.warnings, *notes)
    return RunTable(replace(table, warnings=warnings, samples=_samples(rundir)), model, weights)


def _samples(rundir: RunDir) -> tuple[int, int] | None:
    """How many samples calibrated, and how many a search went by; None where the run does not say."""
    try:
        record = json.loads(rundir.run.read_bytes())
        calibrated, tuned = int(record["data"]["selected"]), record["options"].get("tune_samples", 0)
        if tuned and rundir.finished:
            tuned = rundir.read_metrics()["tuning"]["images"]
        return calibrated, min(int(tuned), calibrated)
    except (OSError, ValueError, TypeError, KeyError, FileFormatError):
        return None


def _state(rundir: RunDir) -> _State:
    if rundir.finished or not rundir.journal.is_file():
        require_undamaged(*filter(Path.is_file, (rundir.thresholds, rundir.calibrated, rundir.model)))
        rows = read_table(rundir.thresholds)
        calibrated = read_table(rundir.calibrated) if rundir.calibrated.is_file() else rows
        int8 = read_proto(rundir.model)[0] if rundir.model.is_file() else None
        return _State(rows, calibrated, float_layers_of(rundir.run), int8)
    best = read_best_so_far(rundir)
    note = (
        f"the run is not finished: these are its best thresholds so far ({best.stage}, "
        f"{len(best.moved)} moved by the search since)"
    )
    floats = [name for name, _ in best.float_layers]
    return _State(best.table, best.calibrated, floats, onnx.load_model_from_string(best.model()), note)


def _is_wanted(equalized: Path, named: Path | None, model: Path | None) -> bool:
    """Whether a table shall be of the equalized network: the user names that, or none."""
    if not equalized.is_file():
        return False
    if named is not None:
        return named.resolve() == equalized.resolve()
    return model is None or not is_caffe(model)


def _remedy(rundir: RunDir) -> str:
    if rundir.equalized.is_file():
        return f"; --model {rundir.equalized} gives those of that network, --no-equalize of tune your own's"
    return "; tune with --no-equalize for tuned ones"


def _model_of_run(rundir: RunDir) -> tuple[Path | None, Path | None]:
    """The network a run was started with and its weights, if it is still there and the same."""
    try:
        given = json.loads(rundir.run.read_bytes())["options"]
        model, weights = Path(given["model"]), given.get("weights")
        weights = None if weights is None else Path(weights)
        same = network_reader(weights)(model).sha256 == rundir.identity().get("model")
    except (OSError, ValueError, TypeError, KeyError, InputError):
        return None, None
    return (model, weights) if same else (None, None)
