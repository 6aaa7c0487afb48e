"""What a run writes about itself, and reads again: ``run.json`` and ``metrics.json``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from distq.data.dataset import DatasetSpec
from distq.data.manifest import Manifest
from distq.errors import FileFormatError
from distq.run.context import Run
from distq.run.identity import versions
from distq.run.results import RunResult
from distq.run.rundir import RunDir


def run_record(run: Run) -> dict[str, Any]:
    """Content of ``run.json`` at the end."""
    return {
        "job": run.rundir.identity(),
        "options": run.options.model_dump(mode="json"),
        "device": run.executor.device,
        "versions": versions(),
        "model": {"path": str(run.loaded.path), "sha256": run.loaded.sha256},
        "data": described(run.data, run.manifests[0]),
        "holdout": described(run.holdout_data, run.manifests[1]),
        "preprocessing": run.data.describe_preprocessing(),
        "plugin_sha256": run.data.plugin_sha256,
        "integer_instructions": run.rundir.identity().get("integer_instructions"),
        "skipped_samples": sorted([source, index] for source, index in run.skipped),
        "float_layers": [layer.model_dump() for layer in run.float_layers],
        "warnings": run.warnings,
        "units": {"ran": run.tally.ran, "recalled": run.tally.recalled},
    }


def described(data: DatasetSpec, samples: Manifest) -> dict[str, Any]:
    """The manifest of samples, and what each node copied of their source."""
    staged = {} if data.stage is None else {"staged": asdict(data.stage)}
    return {**asdict(samples), **staged}


def close_run(rundir: RunDir, record: dict[str, Any], result: RunResult) -> None:
    """Write ``run.json`` and ``metrics.json``; the run counts as finished from here on."""
    known = ("layers", "curve", "auto", "integer_kernels", "speed", "ended")
    where_known = {name for name in known if getattr(result, name)}
    included = {"holdout", "tuning", "cost", "float_layers", "warnings", *where_known}
    content = json.loads(result.model_dump_json(include=included))  # JSON has no infinity: null
    if content["cost"]["search"] is None:
        del content["cost"]["search"]
    rundir.close(record, content)


def read_result(rundir: RunDir) -> RunResult:
    """The result of a finished run.

    Raises:
        FileFormatError: its ``metrics.json`` is damaged.
    """
    content = rundir.read_metrics()
    try:
        return RunResult.model_validate({"out": rundir.path, "files": rundir.files(), **content})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise FileFormatError(
            f"{rundir.metrics} has a wrong {where}: remove it and continue with --resume"
        ) from error
