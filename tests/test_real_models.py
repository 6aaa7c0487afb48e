"""The networks of ../shared/data through tune and eval, each by its job file.

As a rule on a few images with bounds that only nonsense breaks; with ``--real`` on the whole split of DATA.md
with the bounds that distq stands for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distq
from distq.config import TuneOptions
from distq.data.dataset import DatasetSpec
from distq.data.shards import shard
from distq.engine.local import LocalExecutor
from distq.engine.progress import SilentReporter
from distq.engine.run import run_units
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.jobfile import load_job
from distq.jobs.tune import tune
from distq.replica.evaluate import Evaluate
from distq.replica.worker import WorkerSettings
from distq.run.given_data import GivenData
from distq.run.results import Accuracy, RunResult
from distq.run.samples import choose_samples, data_spec, input_specs
from distq.search.acceptance import paired_standard_error
from distq.search.metrics import per_image_diff, total_power
from distq.stages.compare import statistics
from distq.targets import TARGETS
from distq.targets.ort import ORT

CHECKOUT = Path(__file__).parents[1]
REAL = CHECKOUT.parent / "shared" / "data"


@dataclass(frozen=True)
class Bound:
    """What a network must reach.

    Attributes:
        few_db: SQNR of both INT8 models on a few images, which only nonsense falls below.
        nmse: most NMSE of the tuned model on all held-out samples.
        top1: how far below float its top-1 may be there, as a fraction.
    """

    few_db: float
    nmse: float
    top1: float | None = None


BOUNDS = {
    "mnist": Bound(few_db=10, nmse=0.001, top1=0.01),
    "resnet20_cifar10": Bound(few_db=18, nmse=0.0025, top1=0.015),
    "squeezenet1.1": Bound(few_db=22, nmse=0.0009, top1=0.015),
    "mobilenet_v1_0.75_224": Bound(few_db=15, nmse=0.005, top1=0.015),
    "version-RFB-320": Bound(few_db=35, nmse=6e-5),
    "yolox_nano": Bound(few_db=3, nmse=0.16),
    "nanotrackv2_head_sim": Bound(few_db=15, nmse=0.002),
}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there: these networks are no part of distq"),
]


def options_of(name: str, **overrides: Any) -> TuneOptions:
    """The options of a job file, some of them replaced."""
    options = load_job(CHECKOUT / "configs" / f"{name}.yaml", overrides).options
    assert isinstance(options, TuneOptions)
    return options


def ends_of_the_search(name: str) -> str:
    """Two layers: one close to the input, which has all others behind it, and the last."""
    plan = make_plan(load_model(options_of(name).model).model, ORT, "auto")
    searched = [quantizer.name for quantizer in plan.quantizers if not quantizer.keep_range]
    return f"{searched[0]},{searched[-1]}"


@pytest.mark.parametrize("name", BOUNDS)
def test_a_few_images(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--real"):
        pytest.skip("--real takes all of them")
    numbers = {"samples": 8, "tune_samples": 4, "holdout": 6, "effort": 2, "layers": ends_of_the_search(name)}
    options = options_of(name, executor="local", out=tmp_path / "run", **numbers)
    found = tune(options, SilentReporter())
    for part, images in ((found.tuning, 4), (found.holdout, 6)):
        assert part is not None
        assert part.images == images
        assert part.after is not None

        assert part.before.sqnr_db > BOUNDS[name].few_db
        assert part.after.sqnr_db > BOUNDS[name].few_db
    require_same_figures(evaluate(options, found, samples=4), found)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("name", BOUNDS)
def test_the_whole_split(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--real"):
        pytest.skip("takes long: ask for it with --real")
    options = options_of(name, out=tmp_path / "run", workers=min(4, os.cpu_count() or 1))
    found = tune(options, SilentReporter())
    assert found.holdout is not None
    assert found.holdout.after is not None
    bound = BOUNDS[name]
    assert found.holdout.images == options.holdout
    assert found.holdout.after.nmse <= bound.nmse
    if bound.top1 is not None:
        assert found.holdout.float is not None
        assert found.holdout.after.top1 is not None
        assert found.holdout.after.top1 >= found.holdout.float.top1 - bound.top1
    before, after = held_out_diffs(options, found, tmp_path)
    assert before.mean() == pytest.approx(found.holdout.before.nmse)
    assert after.mean() == pytest.approx(found.holdout.after.nmse)
    assert after.mean() <= before.mean() + 2 * paired_standard_error(after, before)
    require_same_figures(evaluate(options, found, samples=options.tune_samples), found)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", BOUNDS)
def test_sixteen_tuning_images_are_not_fitted(
    name: str, target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--real"):
        pytest.skip("takes long: ask for it with --real")
    out = tmp_path / "run"
    options = options_of(name, out=out, target=target, tune_samples=16, executor="local", workers=None)
    found = tune(options, SilentReporter())
    before, after = held_out_diffs(options, found, tmp_path)
    assert after.mean() <= before.mean() + 2 * paired_standard_error(after, before)


def require_same_figures(measured: Accuracy, found: RunResult) -> None:
    """What eval measures is what tune said, but for the rounding of the float model's own folding."""
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert measured.nmse == pytest.approx(found.tuning.after.nmse, rel=0.01)
    assert (measured.top1, measured.top5) == (found.tuning.after.top1, found.tuning.after.top5)


def evaluate(options: TuneOptions, found: RunResult, samples: int) -> Accuracy:
    """What eval says of the tuned model on the first samples."""
    assert options.data is not None
    given = {"preprocess": options.preprocess, "executor": "local", "samples": samples}
    candidate = found.out / "model.int8.onnx"
    measured = distq.evaluate(candidate, against=options.model, data=options.data, **given).candidate
    assert isinstance(measured, Accuracy)
    return measured


def held_out_diffs(
    options: TuneOptions, found: RunResult, folder: Path
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """NMSE share of each held-out image, of the calibrated and of the tuned model."""
    assert options.data is not None
    start = distq.calibrate(
        model=options.model,
        data=options.data,
        preprocess=options.preprocess,
        out=folder / "calibrated",
        samples=options.samples,
        holdout=0,
        target=options.target,
        load_dist=found.out / "distributions.npz",
    )
    loaded = load_model(options.model)
    data, held = (
        data_spec(options, GivenData(source, options.preprocess), input_specs(loaded.model), None)
        for source in (options.data, options.holdout_data or options.data)
    )
    indices = choose_samples(options, data, held).holdout
    with LocalExecutor(WorkerSettings()) as executor:
        models = tuple(executor.share((run.out / "model.int8.onnx").read_bytes()) for run in (start, found))
        units = units_of(models, executor.share(loaded.serialized()), held, indices)
        results = list(run_units(executor, None, units, SilentReporter()))
    before, after = (statistics(results, i) for i in range(2))
    return per_image_diff(before.error, total_power(before)), per_image_diff(after.error, total_power(after))


def units_of(
    models: tuple[Any, ...], float_model: Any, held: DatasetSpec, indices: tuple[int, ...]
) -> list[Evaluate]:
    return [Evaluate(models, float_model, held, piece) for piece in shard(indices, 32)]
