"""``distq demo``: the real job on the network and the handwritten digits that the package brings along."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from distq.config import TuneOptions
from distq.data.build import build_lmdb
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.run.results import RunResult

CALIBRATION, TUNING, HELD_OUT = 128, 64, 300
"""How the 428 images are split: the search scores on the first of those that calibrate."""

METHOD = "kl"
"""The classic start leaves the search something to find: with ``auto`` calibration is as close already."""


class DemoResult(BaseModel):
    """The outcome of the demo's tune job, and every file of its folder that a user may open."""

    model_config = ConfigDict(frozen=True)

    out: Path
    run: RunResult
    files: tuple[Path, ...]


class Tune(Protocol):
    """The verb that the demo shows."""

    def __call__(self, options: TuneOptions, reporter: Reporter) -> RunResult:
        """Calibrate and search."""


def run_demo(
    out: Path,
    tune: Tune,
    reporter: Reporter,
    *,
    executor: Literal["ray", "local"] = "ray",
    workers: int | None = None,
) -> DemoResult:
    """Lay out model, preprocessing and an LMDB of the digits in a new folder, and tune the model on them.

    Args:
        out: The folder to make; the run folder is ``run`` in it.
        tune: The verb.
        reporter: Told of progress.
        executor: Ray actors, or this process.
        workers: How many; None is one per core.

    Raises:
        UsageError: the folder exists or cannot be made.
        DistqError: what the tune job raises.
    """
    _make(out)
    model, preprocess, database = out / "digits.onnx", out / "preprocess.yaml", out / "digits_lmdb"
    with as_file(files("distq") / "assets") as assets:
        shutil.copyfile(assets / "digits.onnx", model)
        shutil.copyfile(assets / "preprocess.yaml", preprocess)
        _build(assets, database, reporter)
    run = tune(
        TuneOptions(
            model=model,
            data=database,
            preprocess=preprocess,
            out=out / "run",
            method=METHOD,
            samples=CALIBRATION,
            tune_samples=TUNING,
            holdout=HELD_OUT,
            executor=executor,
            workers=workers,
        ),
        reporter,
    )
    return DemoResult(out=out, run=run, files=(model, preprocess, database, *run.files))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{out} exists: remove it, or choose another with distq demo --out OTHER") from None
    except OSError as error:
        raise UsageError(
            f"folder {out} cannot be made: {error.strerror}: choose another with --out OTHER"
        ) from None


def _build(assets: Path, database: Path, reporter: Reporter) -> None:
    labels = assets / "labels.txt"
    reporter.start("Build LMDB", len(labels.read_text(encoding="utf-8").splitlines()), "images")
    try:
        build_lmdb(assets, labels, database, on_image=reporter.advance)
    finally:
        reporter.finish()
