"""A tuning job of a network of configs/ for a benchmark: 20 images to tune on, 200 others held out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distq.config import TuneOptions
from distq.engine.progress import SilentReporter
from distq.jobfile import load_job
from distq.run.context import Run
from distq.run.open import open_run
from distq.run.results import RunResult
from distq.stages.compare import accuracy, compare_models
from distq.stages.form import Form

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 20
HELD_OUT = range(128, 328)
"""Lines 129 to 328 of the list: what every benchmark of these networks is measured on."""


def tune_options(network: str, folder: Path, **given: Any) -> TuneOptions:
    """Options of ``configs/<network>.yaml`` with the first images to tune on and others held out."""
    own = load_job(ROOT / "configs" / f"{network}.yaml", {"out": folder / "run"}).options
    if not isinstance(own, TuneOptions) or own.data is None:
        raise SystemExit(f"configs/{network}.yaml is no tuning of a list of images")
    samples = {"samples": IMAGES, "tune_samples": IMAGES}
    held = {"holdout_data": held_out_list(own.data, folder), "holdout": len(HELD_OUT)}
    return TuneOptions.model_validate({**own.model_dump(exclude_unset=True), **samples, **held, **given})


def held_out_list(source: Path, folder: Path) -> Path:
    """Write the held-out lines of a list into one of their own, with absolute paths."""
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    path = folder / "held_out.txt"
    kept = [f"{source.resolve().parent / lines[i]}\n" for i in HELD_OUT]
    path.write_text("".join(kept), encoding="utf-8")
    return path


@contextmanager
def open_tuning(network: str, **given: Any) -> Iterator[tuple[Run, TuneOptions]]:
    """A fresh run of a network in a temporary folder, its workers ready."""
    with tempfile.TemporaryDirectory() as folder:
        options = tune_options(network, Path(folder), **given)
        with open_run(options, "tune", SilentReporter()) as found:
            if isinstance(found, RunResult):
                raise SystemExit(f"{options.out} is finished already")
            yield found, options


def held_out_nmse(run: Run, *forms: Form) -> list[float]:
    """NMSE of INT8 networks on the held-out samples."""
    blobs = [run.executor.share(form.exported) for form in forms]
    results = compare_models(run, "compare", blobs, run.holdout_data, run.selection.holdout)
    return [accuracy(results, i).nmse for i in range(len(forms))]


def evenly(items: list[Any], limit: int | None) -> list[Any]:
    """At most ``limit`` of the items, spread evenly from the first to the last."""
    if limit is None or limit >= len(items):
        return items
    return [items[round(i * (len(items) - 1) / max(1, limit - 1))] for i in range(limit)]
