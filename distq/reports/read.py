"""From the files of RUN to what the page shows of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from distq.calibration.distributions import DistributionSet
from distq.calibration.histogram import Distribution
from distq.engine.journal_read import read_records
from distq.errors import FileFormatError, InputError, UsageError
from distq.exchange.model_file import files_of_network, network_reader
from distq.quant.table import Row, read_table
from distq.regular import read_regular
from distq.reports.facts import Choice, RunFacts, TensorFacts
from distq.reports.fits import Fits
from distq.reports.held_out import held_out
from distq.reports.samples import worst_samples
from distq.reports.weights import model_facts
from distq.run.records import read_result
from distq.run.results import DiffResult, RunResult, SearchedLayer
from distq.run.rundir import RunDir
from distq.run.seal import read_sealed
from distq.run.which_run import require_run
from distq.search.tried import Tried

_TRIED = TypeAdapter(tuple[Tried, ...])
_RESCALED = 1e-6  # of a range; a search may write the same range a rounding apart


def read_run(path: Path, label: str, *, images: bool = True) -> RunFacts:
    """Read a finished run; nothing in its folder is changed.

    Args:
        path: the run folder.
        label: what the page calls it.
        images: take small pictures of the worst samples from the run's data, where it is still there.

    Raises:
        UsageError: it is no run, or not finished.
        FileFormatError: a file of it is damaged; the message names it.
    """
    rundir = RunDir(path)
    record = _record(rundir)
    damaged = rundir.damaged()
    if damaged:
        raise FileFormatError(
            f"{damaged[0]} is not what its run wrote: have it made again by the same command with --resume"
        )
    result, metrics = read_result(rundir), rundir.read_metrics()
    model = model_facts(rundir.model)
    records = list(read_records(rundir.journal)) if rundir.journal.is_file() else []
    found = held_out(records, result.holdout, shuffled=bool(record.get("job", {}).get("shuffle")))
    return RunFacts(
        label=label,
        path=path,
        record=record,
        metrics=metrics,
        result=result,
        tensors=tuple(_tensors(rundir, record, result, model.kinds, records)),
        layers=model.layers,
        held_out=found,
        worst=worst_samples(found, record.get("holdout") or {}, record.get("preprocessing"), images=images),
        choices=tuple(_choices(records)),
        int8_bytes=_size(rundir.model, rundir.weights),
        float_bytes=_float_size(record),
    )


def read_measured(path: Path) -> DiffResult:
    """What ``distq diff --json`` printed.

    Raises:
        FileFormatError: it is something else.
    """
    try:
        return DiffResult.model_validate_json(read_regular(path))
    except (OSError, ValidationError) as error:
        raise FileFormatError(f"{path} is not what distq diff --json prints: save that there") from error


def _record(rundir: RunDir) -> dict[str, Any]:
    require_run(rundir)
    try:
        record = read_sealed(rundir.run)
        rundir.identity()
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{rundir.run} is damaged: there is nothing to report") from error
    if not rundir.finished:
        raise UsageError(
            f"{rundir.path} is not finished: wait for it, or continue it with the same command and --resume"
        )
    return record


def _tensors(
    rundir: RunDir,
    record: Mapping[str, Any],
    result: RunResult,
    kinds: Mapping[str, str],
    records: Sequence[Mapping[str, Any]],
) -> Iterator[TensorFacts]:
    """All tensors of the table and all layers that stay float, in the order of the graph."""
    table = read_table(rundir.thresholds)
    before = read_table(rundir.calibrated) if rundir.calibrated.is_file() else {}
    has_counts = rundir.distributions.is_file()
    counts = DistributionSet.load(rundir.distributions).tensors if has_counts else {}
    notes = list(_search_notes(records, record))
    searched = {layer.name: layer for layer in _searched(notes, result)}
    tried = _tried(notes)
    reasons = {layer.name: layer.reason for layer in result.float_layers}
    options = {**record.get("job", {}), **record.get("options", {})}
    bins, scheme = int(options.get("bins", 2048)), str(options.get("scheme", "auto"))
    position = {name: number for number, name in enumerate(kinds)}
    names = {**dict.fromkeys(table), **dict.fromkeys(before), **dict.fromkeys(reasons)}
    for name in sorted(names, key=lambda n: (position.get(n, len(position)), n)):
        row, start = table.get(name), before.get(name)
        shared = next((r.tied_to for r in (row, start) if r is not None and r.tied_to), None)
        distribution = counts.get(name) or counts.get(shared or "")
        quantizer = row or start
        counted = distribution is not None and distribution.count > 0
        fits = Fits(distribution) if distribution is not None and counted else None
        yield TensorFacts(
            name=name,
            kind=kinds.get(name, ""),
            row=row,
            before=start,
            distribution=distribution,
            rescaled=counted and row is not None and not _of(row, distribution),
            fit=fits.of(row) if fits and row and _of(row, distribution) else None,
            fit_before=fits.of(start) if fits and start and _of(start, distribution) else None,
            methods=fits.of_methods(quantizer, bins, scheme) if fits and quantizer and not shared else {},
            search=searched.get(name),
            reason=reasons.get(name, ""),
            tried=tried.get(name, ()),
        )


def _of(row: Row, distribution: Distribution | None) -> bool:
    """Whether a row is of the values that a distribution counts, not of channels that were evened out."""
    if distribution is None or row.has_headroom:
        return False
    pairs = (row.observed_min, distribution.min), (row.observed_max, distribution.max)
    return all(math.isclose(a, b, rel_tol=_RESCALED) for a, b in pairs)


def _search_notes(
    records: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """What the journal has of the search of the network; earlier versions had one search in a run."""
    search = record.get("search")
    for one in records:
        fields = one.get("fields")
        if (one.get("type"), one.get("kind")) != ("note", "layer") or not isinstance(fields, dict):
            continue
        if search is None or fields.get("search") == search:
            yield fields


def _searched(notes: Sequence[Mapping[str, Any]], result: RunResult) -> Iterator[SearchedLayer]:
    """What the search decided, of the journal; of ``metrics.json`` where there is no journal any more."""
    try:
        found = [SearchedLayer.model_validate(note) for note in notes]
    except ValidationError:  # of another version of distq
        found = []
    yield from found or result.layers


def _tried(notes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Tried, ...]]:
    """Candidates of each tensor; earlier versions did not note them."""
    found = {}
    for note in notes:
        with suppress(ValidationError, KeyError):
            found[str(note["name"])] = _TRIED.validate_python(note["tried"])
    return found


def _choices(records: Sequence[Mapping[str, Any]]) -> Iterator[Choice]:
    for record in records:
        fields = record.get("fields")
        if record.get("type") != "note" or not isinstance(fields, dict) or "diffs" not in fields:
            continue
        kind, chosen, names = record.get("kind"), fields.get("chosen"), fields.get("names", ())
        if kind == "confirmed":
            kind = f"{fields.get('what')}, on samples that no choice saw"
            chosen, names = "kept" if fields.get("lasts") else "not kept", ("without", "with")
        yield Choice(
            kind=str(kind),
            chosen=str(chosen),
            names=tuple(map(str, names)),
            diffs=tuple(math.inf if diff is None else float(diff) for diff in fields["diffs"]),
        )


def _size(*paths: Path) -> int | None:
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    return sum(sizes) if sizes else None


def _float_size(record: Mapping[str, Any]) -> int | None:
    """Of the user's model and the files with its weights, where it is still what the run was given."""
    model = record.get("model")
    if not isinstance(model, dict) or not Path(str(model.get("path"))).is_file():
        return None
    path, given = Path(model["path"]), record.get("options", {}).get("weights")
    weights = None if given is None else Path(given)
    try:
        if network_reader(weights)(path).sha256 != model.get("sha256"):
            return None
        return _size(*files_of_network(path, weights))
    except InputError:
        return None
