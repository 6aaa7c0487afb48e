"""A target of one's own, from calibration to the exported network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exported_facts import Exported, assert_holds
from job_helpers import Graph, calibrate, samples, write_model

import distq
from distq.errors import UsageError
from distq.targets.target import Target

NPU = Target(
    name="npu",
    placement="layer inputs",
    schemes=("symmetric",),
    signed=True,
    bias="int32",
    activation_bits=(8,),
    per_channel_weights=False,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convs of all channels and of each, a transposed one and a Gemm, with loud and quiet channels."""
    graph = Graph(1)
    first = graph.add("Relu", [graph.conv("x", (3, 8), "first_sums", gain=(4, 4, *[1] * 6))], "first")
    second = graph.add("Relu", [graph.conv(first, (8, 8), "second_sums", group=8)], "second")
    weight = graph.constant(graph.rng.standard_normal((8, 4, 2, 2)) / 4)
    graph.add("ConvTranspose", [second, weight, graph.constant(np.zeros(4))], "third", strides=[2, 2])
    graph.add("GlobalAveragePool", [graph.add("Relu", ["third"], "fourth")], "average")
    graph.gemm(graph.add("Flatten", ["average"], "flat"), (4, 6), "scores")
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx", graph.model({"scores": (1, 6)}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(path, samples(40))
    return path


@pytest.fixture
def npu(add: Callable[[Target], str]) -> str:
    return add(NPU)


def exported(run: Path) -> bytes:
    return (run / "model.int8.onnx").read_bytes()


@pytest.mark.parametrize("rounding", ["gptq", "nearest"])
def test_calibrate_makes_what_the_target_says(
    model: Path, data: Path, npu: str, tmp_path: Path, rounding: str
) -> None:
    found = calibrate(model, data, tmp_path / "run", target=npu, rounding=rounding, samples=24)
    assert_holds(exported(found.out), NPU, "auto")
    graph = Exported(exported(found.out))
    assert [node.input[0] for node in graph.quantizers] == ["x", "first", "second", "flat"]
    assert sum(1 for _ in graph.layers(NPU)) == 4
    assert found.holdout is not None
    assert found.holdout.before.sqnr_db > 20


def test_weights_are_rounded_by_the_covariance_of_their_inputs_and_means_restored(
    npu: str, tmp_path: Path
) -> None:
    """On images whose neighbouring pixels are alike, so that errors of weights can make up for each other."""
    graph = Graph(0)
    graph.conv("x", (3, 6), "y", gain=(8, 1, 1, 1, 1, 1))
    model = write_model(tmp_path / "one.onnx", graph.model({"y": (1, 6, 8, 8)}))
    smooth = 3 + np.cumsum(np.cumsum(samples(40), axis=2), axis=3)
    np.save(tmp_path / "smooth.npy", smooth.astype(np.float32))
    noise = []
    for number, options in enumerate(
        ({"rounding": "nearest", "bias_correction": False}, {"rounding": "nearest"}, {})
    ):
        given = {"target": npu, "method": "max", "samples": 24, **options}
        found = calibrate(model, tmp_path / "smooth.npy", tmp_path / str(number), **given)
        assert found.holdout is not None
        noise.append(found.holdout.before.nmse)
    assert noise[2] < noise[1] < noise[0]


def test_a_tuned_network_is_no_further_from_float_and_as_the_target_says(
    model: Path, data: Path, npu: str, tmp_path: Path
) -> None:
    found = distq.tune(
        model=model, data=data, out=tmp_path / "run", target=npu, samples=24, float_budget=1, executor="local"
    )
    assert_holds(exported(found.out), NPU, "auto")
    assert found.tuning is not None
    assert found.tuning.after.nmse <= found.tuning.before.nmse


def test_16_bits_are_refused_before_anything_is_written(
    model: Path, data: Path, npu: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="npu has no 16-bit activations"):
        distq.tune(model=model, data=data, out=tmp_path / "run", target=npu, int16_budget=1, executor="local")
    assert not (tmp_path / "run").exists()
