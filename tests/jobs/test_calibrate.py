"""``distq calibrate``: the files of a run, what is in them, and which samples do what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from job_helpers import (
    CLASSES,
    SAMPLES,
    SHAPE,
    Graph,
    Reference,
    calibrate,
    depthwise_network,
    read_json,
    samples,
    three_layers,
    thresholds,
    write_model,
    write_photos,
)

import distq
from distq.data.shards import permutation
from distq.engine.progress import SilentReporter
from distq.errors import DataError
from distq.run.results import RunResult


def test_a_run_leaves_the_files_of_the_contract(calibrated: RunResult) -> None:
    assert sorted(path.name for path in calibrated.out.iterdir()) == [
        "distributions.npz",
        "journal.jsonl",
        "metrics.json",
        "model.int8.onnx",
        "run.json",
        "tensors.csv",
        "thresholds.json",
    ]
    assert {path.name for path in calibrated.files} == {path.name for path in calibrated.out.iterdir()} - {
        "journal.jsonl"
    }


def test_run_json_says_what_was_run_on_what(calibrated: RunResult, model: Path, data: Path) -> None:
    found = read_json(calibrated.out / "run.json")
    assert found["options"]["samples"] == 8
    assert found["options"]["seed"] == 0
    assert found["options"]["method"] == "auto"
    assert found["job"]["command"] == "calibrate"
    assert found["device"] == "cpu"
    assert {"python", "numpy", "onnx"} <= set(found["versions"])
    assert found["model"]["path"] == str(model)
    assert len(found["model"]["sha256"]) == len(found["data"]["sha256"]) == 64
    assert found["data"]["source"] == str(data)
    assert (found["data"]["count"], found["data"]["selected"], found["holdout"]["selected"]) == (12, 8, 4)
    assert found["preprocessing"]
    assert found["plugin_sha256"] is None
    assert found["integer_instructions"]
    assert found["float_layers"] == found["warnings"] == found["skipped_samples"] == []
    assert found["units"]["ran"] > 0


def test_with_device_auto_the_run_says_what_the_workers_took(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lines(SilentReporter):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def line(self, text: str) -> None:
            self.lines.append(text)

    monkeypatch.setattr("distq.replica.cuda.gpu_count", lambda: 0)
    reporter = Lines()
    calibrate(model, data, tmp_path / "run", samples=8, device="auto", reporter=reporter)
    assert reporter.lines[0] == "--device auto: all workers (1) compute on cpu"
    assert read_json(tmp_path / "run" / "run.json")["device"] == "cpu"


def test_metrics_json_is_the_result(calibrated: RunResult) -> None:
    found = read_json(calibrated.out / "metrics.json")
    assert found["holdout"]["images"] == 4
    assert found["tuning"]["images"] == 8
    for part in (found["holdout"], found["tuning"]):
        assert set(part) == {"images", "before", "after", "float"}
        assert set(part["before"]) == {"nmse", "sqnr_db", "cosine", "top1", "top5"}
        assert part["after"] is None
    memory = {"peak_rss_mb", "driver_peak_rss_mb", "worker_peak_rss_mb"}
    assert set(found["cost"]) == {"fp32_forwards", "int8_forwards", "seconds", "workers", *memory}
    assert found["cost"]["workers"] == 1
    assert found["cost"]["peak_rss_mb"] == found["cost"]["driver_peak_rss_mb"] > 10
    assert found["cost"]["worker_peak_rss_mb"] == []
    assert RunResult.model_validate({"out": calibrated.out, "files": calibrated.files, **found}) == calibrated


def test_of_many_samples_the_first_five_hundred_are_compared(model: Path, tmp_path: Path) -> None:
    many = samples(520)
    np.save(tmp_path / "many.npy", many)
    np.save(tmp_path / "first.npy", many[:500])
    found = calibrate(model, tmp_path / "many.npy", tmp_path / "run", samples=520, shard_size=40)
    assert found.tuning is not None
    assert found.tuning.images == read_json(tmp_path / "run" / "metrics.json")["tuning"]["images"] == 500
    first = distq.evaluate(
        tmp_path / "run" / "model.int8.onnx", against=model, data=tmp_path / "first.npy", executor="local"
    )
    assert first.candidate == found.tuning.before


def test_the_nmse_is_that_of_the_two_models_in_onnx_runtime(calibrated: RunResult, model: Path) -> None:
    exact, quantized = Reference(model), Reference(calibrated.out / "model.int8.onnx")
    for part, images in ((calibrated.tuning, samples()[:8]), (calibrated.holdout, samples()[8:])):
        assert part is not None
        y32 = np.array([exact(image) for image in images], np.float64)
        y8 = np.array([quantized(image) for image in images], np.float64)
        assert part.before.nmse == pytest.approx(np.sum((y8 - y32) ** 2) / np.sum(y32**2), rel=1e-3)
        assert part.before.sqnr_db == pytest.approx(-10 * np.log10(part.before.nmse))
        cosine = np.sum(y8 * y32) / np.sqrt(np.sum(y8**2) * np.sum(y32**2))
        assert part.before.cosine == pytest.approx(cosine, abs=1e-6)


def test_the_model_is_valid_and_has_the_inputs_and_outputs_of_the_float_one(
    calibrated: RunResult, model: Path
) -> None:
    found, given = onnx.load(calibrated.out / "model.int8.onnx"), onnx.load(model)
    onnx.checker.check_model(found, full_check=True)
    assert [o.version for o in found.opset_import] == [13]
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in found.graph.node}
    assert [v.name for v in found.graph.input] == [v.name for v in given.graph.input]
    assert [v.name for v in found.graph.output] == [v.name for v in given.graph.output]


def test_thresholds_are_sorted_and_complete(calibrated: RunResult) -> None:
    rows = thresholds(calibrated.out)
    assert list(rows) == sorted(rows) == ["average", "first", "flat", "scores", "second", "x"]
    assert set(rows["first"]) == {
        "threshold",
        "min",
        "max",
        "observed_min",
        "observed_max",
        "bits",
        "signed",
        "scale",
        "zero_point",
        "convention",
        "method",
        "tied_to",
    }
    assert rows["flat"] == {**rows["average"], "tied_to": "average"}
    assert rows["x"]["observed_min"] == pytest.approx(samples()[:8].min())
    assert rows["x"]["observed_max"] == pytest.approx(samples()[:8].max())


def test_a_threshold_gives_the_range_of_the_contract(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    table = read_json(calibrated.out / "thresholds.json")
    for row in table["tensors"].values():
        row["threshold"] *= 0.5
    (tmp_path / "table.json").write_text(json.dumps(table))
    calibrate(model, data, tmp_path / "run", samples=8, table=tmp_path / "table.json")
    rows = thresholds(tmp_path / "run")
    for row in rows.values():
        low, high = max(row["observed_min"], -row["threshold"]), min(row["observed_max"], row["threshold"])
        assert (row["min"], row["max"]) == (min(low, 0.0), high)
        assert row["scale"] == pytest.approx((row["max"] - row["min"]) / 255)
        assert row["zero_point"] == round(-row["min"] / row["scale"])
    assert rows["first"]["zero_point"] == 0
    assert rows["x"]["zero_point"] > 0


def test_bias_correction_brings_a_depthwise_network_closer_to_float(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", depthwise_network())
    np.save(tmp_path / "data.npy", samples(40))
    found = {
        on: calibrate(
            model, tmp_path / "data.npy", tmp_path / str(on), samples=24, method="max", bias_correction=on
        )
        for on in (True, False)
    }
    for part in ("tuning", "holdout"):
        corrected, plain = (getattr(found[on], part).before.nmse for on in (True, False))
        assert corrected < 0.75 * plain, part


def test_without_samples_left_nothing_is_held_out(model: Path, data: Path, tmp_path: Path) -> None:
    found = calibrate(model, data, tmp_path / "run", samples=SAMPLES)
    assert found.holdout is None
    assert found.tuning is not None
    assert found.tuning.images == SAMPLES
    assert read_json(tmp_path / "run" / "metrics.json")["holdout"] is None


def test_held_out_samples_may_come_from_elsewhere(model: Path, calibrated: RunResult, tmp_path: Path) -> None:
    elsewhere = tmp_path / "held.npy"
    np.save(elsewhere, samples()[8:])
    first_eight = tmp_path / "eight.npy"
    np.save(first_eight, samples()[:8])
    found = calibrate(model, first_eight, tmp_path / "run", holdout_data=elsewhere)
    assert found.holdout == calibrated.holdout
    assert found.tuning == calibrated.tuning
    assert read_json(tmp_path / "run" / "run.json")["holdout"]["source"] == str(elsewhere)


def test_a_number_of_held_out_samples(model: Path, data: Path, tmp_path: Path) -> None:
    found = calibrate(model, data, tmp_path / "run", samples=6, holdout=3)
    assert found.holdout is not None
    assert found.holdout.images == 3


def test_numbers_that_were_not_asked_for_shrink_to_the_data(model: Path, data: Path, tmp_path: Path) -> None:
    found = calibrate(model, data, tmp_path / "run")
    assert found.tuning is not None
    assert found.tuning.images == SAMPLES
    with pytest.raises(DataError, match=r"128 samples asked for, the data has 12: give --samples 12"):
        calibrate(model, data, tmp_path / "other", samples=128)


def test_labels_give_top1_and_top5_of_both_models(model: Path, data: Path, tmp_path: Path) -> None:
    exact = Reference(model)
    right = [int(exact(image).argmax()) for image in samples()]
    wrong_from = 10
    lines = [f"{i} {label if i < wrong_from else (label + 1) % CLASSES}" for i, label in enumerate(right)]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    found = calibrate(model, data, tmp_path / "run", samples=8, labels=tmp_path / "labels.txt")
    assert found.tuning is not None
    assert found.tuning.float is not None
    assert found.tuning.float.top1 == 1.0
    assert found.holdout is not None
    assert found.holdout.float is not None
    assert found.holdout.float.top1 == 0.5
    assert found.holdout.before.top1 is not None
    assert found.holdout.before.top5 is not None
    assert found.holdout.before.top1 <= found.holdout.before.top5
    assert read_json(tmp_path / "run" / "metrics.json")["holdout"]["float"]["top1"] == 0.5


def test_shuffling_is_fixed_by_the_seed(model: Path, data: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.npy"
    np.save(shuffled, samples()[permutation(SAMPLES, 5)])
    calibrate(model, data, tmp_path / "seed5", samples=6, shuffle=True, seed=5)
    calibrate(model, shuffled, tmp_path / "by_hand", samples=6)
    calibrate(model, data, tmp_path / "seed6", samples=6, shuffle=True, seed=6)
    assert thresholds(tmp_path / "seed5") == thresholds(tmp_path / "by_hand")
    assert thresholds(tmp_path / "seed5") != thresholds(tmp_path / "seed6")


@pytest.mark.parametrize("shard_size", [1, 8])
def test_unreadable_images_are_counted_as_far_as_allowed(
    shard_size: int, model: Path, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 10)
    for number in (2, 8):
        (photos / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    with pytest.raises(DataError, match=r"photos/2\.png .*--skip-bad 1$"):
        calibrate(model, photos, tmp_path / "strict", samples=6)
    with pytest.raises(DataError, match=r"photos/8\.png .*--skip-bad 2$"):
        calibrate(model, photos, tmp_path / "one", samples=6, skip_bad=1)
    assert not (tmp_path / "strict").exists()
    assert not (tmp_path / "one").exists()
    found = calibrate(model, photos, tmp_path / "run", samples=6, skip_bad=2, shard_size=shard_size)
    assert (found.tuning.images, found.holdout.images) == (5, 3)  # type: ignore[union-attr]  # both have images
    assert read_json(tmp_path / "run" / "run.json")["skipped_samples"] == [[str(photos), 2], [str(photos), 8]]
    assert sum("left out" in text for text in found.warnings) == 2


def test_a_tensor_that_is_always_zero_gets_a_threshold_and_a_warning(data: Path, tmp_path: Path) -> None:
    graph = Graph(0)
    graph.add("Relu", [graph.conv("x", (3, 4), "silent_sums", gain=(0,), bias=-1.0)], "silent")
    graph.conv("silent", (4, 2), "y", kernel=1, bias=0.0)
    model = write_model(tmp_path / "model.onnx", graph.model({"y": (1, 2, *SHAPE[1:])}))
    found = calibrate(model, data, tmp_path / "run", samples=8)
    assert [text for text in found.warnings if "silent is zero in every sample" in text]
    assert thresholds(tmp_path / "run")["silent"]["threshold"] == 1.0
    assert found.tuning is not None
    assert found.tuning.before.nmse == 0
    assert found.tuning.before.sqnr_db == np.inf


def test_an_infinite_sqnr_is_null_in_metrics_json_and_comes_back(data: Path, tmp_path: Path) -> None:
    graph = Graph(0)
    graph.conv("x", (3, 2), "y", gain=(0,), bias=0.0)
    model = write_model(tmp_path / "model.onnx", graph.model({"y": (1, 2, *SHAPE[1:])}))
    found = calibrate(model, data, tmp_path / "run", samples=8)
    assert read_json(tmp_path / "run" / "metrics.json")["tuning"]["before"]["sqnr_db"] is None
    assert calibrate(model, data, tmp_path / "run", samples=8, resume=True).tuning == found.tuning


def test_what_stays_float_is_listed_with_its_reason(data: Path, tmp_path: Path) -> None:
    proto = three_layers()
    proto.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["shares"]))
    proto.graph.output[0].name = "shares"
    model = write_model(tmp_path / "model.onnx", proto)
    found = calibrate(model, data, tmp_path / "run", samples=8, int16_layers="second")
    reasons = {
        layer["name"]: layer["reason"] for layer in read_json(tmp_path / "run" / "run.json")["float_layers"]
    }
    assert set(reasons) >= {"shares", "second"}
    assert "16 bits" in reasons["second"]
    assert {layer.name for layer in found.float_layers} == set(reasons)
    assert onnx.load(tmp_path / "run" / "model.int8.onnx").opset_import[0].version == 21
    assert thresholds(tmp_path / "run")["second"]["bits"] == 16


def test_two_inputs_and_two_outputs(tmp_path: Path) -> None:
    graph = Graph(0)
    graph.conv("left", (3, 4), "a")
    graph.conv("right", (3, 4), "b", kernel=1)
    graph.add("Add", ["a", "b"], "sum")
    shape = (1, 4, *SHAPE[1:])
    proto = graph.model({"sum": shape, "b": shape}, {"left": (1, *SHAPE), "right": (1, *SHAPE)})
    model = write_model(tmp_path / "model.onnx", proto)
    np.savez(tmp_path / "data.npz", left=samples(), right=samples(seed=1))
    found = calibrate(model, tmp_path / "data.npz", tmp_path / "run", samples=8)
    assert found.holdout is not None
    assert found.holdout.before.sqnr_db > 25
    assert set(thresholds(tmp_path / "run")) == {"left", "right", "a", "b"}


def test_nan_in_an_activation_names_the_tensor_and_leaves_no_run(tmp_path: Path) -> None:
    graph = Graph(0)
    graph.conv("x", (3, 4), "fine")
    graph.add("Mul", ["fine", graph.constant(3e38)], "huge")
    graph.conv("huge", (4, 2), "y")
    model = write_model(tmp_path / "model.onnx", graph.model({"y": (1, 2, *SHAPE[1:])}))
    np.save(tmp_path / "data.npy", samples())
    with pytest.raises(DataError, match=r"^tensor huge holds NaN or inf on 0: "):
        calibrate(model, tmp_path / "data.npy", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "said"), [(1, True), (8, False)])
def test_a_single_sample_is_said_to_be_few(
    count: int, said: bool, model: Path, data: Path, tmp_path: Path
) -> None:
    result = calibrate(model, data, tmp_path / "run", samples=count)
    assert ("1 sample calibrated: others may go far beyond; 32 and more are usual" in result.warnings) == said


def test_the_reporter_hears_of_every_image(model: Path, data: Path, tmp_path: Path) -> None:
    heard: dict[str, list[int]] = {}

    class Counting(SilentReporter):
        stage = ""

        def start(self, stage: str, total: int, unit: str) -> None:
            del unit
            self.stage = stage
            heard[stage] = [total, 0]

        def advance(self, count: int = 1) -> None:
            heard[self.stage][1] += count

    calibrate(model, data, tmp_path / "run", samples=8, shard_size=3, reporter=Counting())
    assert heard["calibrate"] == [8, 8]
    assert heard["compare on held-out samples"] == [4, 4]
    assert all(total == done for total, done in heard.values())
