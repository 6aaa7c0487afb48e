"""Networks that give the number of a class beside its scores, or alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import calibrate, write_model
from networks import Builder

import distq

SEEN = """
def score(outputs, sample):
    return float((outputs["label"] == sample.float_outputs["label"]).mean())

needs_float = True
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """Samples, and the same network with several outputs."""
    folder = tmp_path_factory.mktemp("indices")
    data, models = folder / "data.npy", {}
    np.save(data, np.random.default_rng(0).normal(size=(24, 4, 8, 8)).astype(np.float32))
    for outputs in ("scores", "scores,label", "label"):
        b = Builder()
        hidden = b.node("Relu", b.conv("x", (4, 8)))
        b.node("Conv", hidden, b.random(40, 8, 1, 1), output="scores")
        b.node("ArgMax", "scores", output="label", axis=1)
        model = b.model({"x": [1, 4, 8, 8]}, outputs.split(","))
        models[outputs] = write_model(folder / f"{outputs}.onnx", model)
    return data, models


@pytest.mark.parametrize("outputs", ["scores,label", "label"])
def test_how_far_a_class_number_is_off_does_not_count(
    given: tuple[Path, dict[str, Path]], outputs: str, tmp_path: Path
) -> None:
    data, models = given
    alone = calibrate(models["scores"], data, tmp_path / "alone", samples=12)
    found = calibrate(models[outputs], data, tmp_path / "run", samples=12)
    assert found.warnings == ("indices in label: compared is what they are chosen from",)
    assert alone.holdout is not None
    assert found.holdout is not None
    assert found.holdout.before.sqnr_db == pytest.approx(alone.holdout.before.sqnr_db, abs=0.5)
    evaluated = distq.evaluate(
        candidate=found.out / "model.int8.onnx", against=models[outputs], data=data, skip=12, executor="local"
    )
    assert evaluated.candidate is not None
    assert evaluated.candidate.sqnr_db == pytest.approx(found.holdout.before.sqnr_db, abs=0.01)


def test_a_measure_of_the_user_gets_the_class_number(
    given: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    data, models = given
    measure = tmp_path / "same.py"
    measure.write_text(SEEN, encoding="utf-8")
    found = calibrate(
        models["label"], data, tmp_path / "run", samples=12, measure=[str(measure)], allow_code=True
    )
    assert found.holdout is not None
    assert found.holdout.measures[0].before["same"] > 0.9
