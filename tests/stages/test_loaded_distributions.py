"""``--load-dist`` with a file that was gathered with other options by layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_helpers import Graph, calibrate, thresholds, write_model

from distq.engine.progress import SilentReporter
from distq.errors import FileFormatError


class Warned(SilentReporter):
    """Keeps warnings, and the stages that went through samples."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.stages: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def start(self, stage: str, total: int, unit: str) -> None:
        super().start(stage, total, unit)
        self.stages.append(stage)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``both`` joins ``left`` and ``right``, which share its threshold, for ``last``."""
    graph = Graph(0)
    names = [graph.add("Relu", [graph.conv("x", (3, 4), f"{n}_sums")], n) for n in ("left", "right")]
    graph.add("Concat", names, "both", axis=1)
    graph.conv("both", (8, 6), "last")
    return write_model(tmp_path_factory.mktemp("joined") / "model.onnx", graph.model({"last": (1, 6, 8, 8)}))


def test_tensors_that_now_have_a_threshold_of_their_own_are_gathered(
    joined: Path, data: Path, tmp_path: Path
) -> None:
    calibrate(joined, data, tmp_path / "run", samples=8, method="kl")
    assert "left" not in {n for n, row in thresholds(tmp_path / "run").items() if row["tied_to"] is None}
    options = {"samples": 8, "method": "kl", "float_outputs": "last"}
    calibrate(joined, data, tmp_path / "gathered", **options)
    reporter, kept = Warned(), tmp_path / "both.npz"
    calibrate(
        joined,
        data,
        tmp_path / "loaded",
        load_dist=tmp_path / "run" / "distributions.npz",
        dump_dist=kept,
        reporter=reporter,
        **options,
    )
    assert thresholds(tmp_path / "loaded") == thresholds(tmp_path / "gathered")
    (warning,) = reporter.warnings
    assert "lacks 2 tensors that have a quantizer of their own" in warning
    assert warning.endswith("left, right")
    again = Warned()
    calibrate(joined, data, tmp_path / "again", load_dist=kept, reporter=again, **options)
    calibrate(joined, data, tmp_path / "whole", load_dist=kept, reporter=again, samples=8, method="kl")
    assert not again.warnings
    assert "calibrate" in reporter.stages
    assert "calibrate" not in again.stages
    assert thresholds(tmp_path / "again") == thresholds(tmp_path / "gathered")
    assert thresholds(tmp_path / "whole") == thresholds(tmp_path / "run")


def test_without_data_the_remedy_is_named(joined: Path, data: Path, tmp_path: Path) -> None:
    calibrate(joined, data, tmp_path / "run", samples=8)
    kept = tmp_path / "run" / "distributions.npz"
    with pytest.raises(FileFormatError, match="lack left: give --data, from which it is gathered"):
        calibrate(joined, None, tmp_path / "alone", load_dist=kept, float_outputs="last")


@pytest.mark.parametrize("left_out", ["second", "scores"])
def test_what_leaves_tensors_out_reads_no_sample_for_the_counts(
    left_out: str, model: Path, data: Path, tmp_path: Path
) -> None:
    calibrate(model, data, tmp_path / "run", samples=8)
    kept, reporter = tmp_path / "run" / "distributions.npz", Warned()
    options = {"samples": 8, "float_layers": left_out, "load_dist": kept}
    calibrate(model, data, tmp_path / "loaded", reporter=reporter, **options)
    assert "calibrate" not in reporter.stages
    gathered = calibrate(model, data, tmp_path / "gathered", samples=8, float_layers=left_out)
    assert thresholds(tmp_path / "loaded") == thresholds(gathered.out)
