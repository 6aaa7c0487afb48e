"""The transform of sound at the input of a network is recognised by its weights and its place."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from job_helpers import calibrate, three_layers, write_model
from networks import Builder
from sound_networks import LENGTH, Matrix, constant_q, sound_network, stft, tones

from distq.errors import UsageError
from distq.graph.front_end import front_end
from distq.graph.layers import float_name
from distq.graph.load import load_model
from distq.run.results import RunResult
from distq.targets import find_target


def recognised(folder: Path, network: onnx.ModelProto) -> list[str]:
    loaded = load_model(write_model(folder / "model.onnx", network))
    return [float_name(node) for node in front_end(loaded.model.graph, find_target("ort").layers)]


@pytest.mark.parametrize("together", [False, True])
def test_an_stft_is_recognised_with_the_mel_filters_behind_it(tmp_path: Path, together: bool) -> None:
    waves = ["waves"] if together else ["real", "imaginary"]
    assert recognised(tmp_path, sound_network(together=together)) == [*waves, "mel"]


def test_a_constant_q_transform_is_recognised(tmp_path: Path) -> None:
    assert recognised(tmp_path, sound_network(constant_q)) == ["real", "imaginary"]


def trained() -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((33, LENGTH)), rng.standard_normal((33, LENGTH))


def cosines_alone() -> tuple[Matrix, Matrix]:
    real, _ = stft()
    return real, real


@pytest.mark.parametrize("rows", [trained, cosines_alone])
def test_other_rows_of_the_same_shape_are_not(
    tmp_path: Path, rows: Callable[[], tuple[Matrix, Matrix]]
) -> None:
    assert not recognised(tmp_path, sound_network(rows))


def test_waves_behind_another_layer_are_no_front_end(tmp_path: Path) -> None:
    network = sound_network()
    gain = onnx.numpy_helper.from_array(np.full((1, 1, 3), 0.3, np.float32), "gain")
    network.graph.initializer.append(gain)
    network.graph.node.insert(1, onnx.helper.make_node("Conv", ["channel", "gain"], ["louder"], pads=[1, 1]))
    for node in network.graph.node[2:4]:
        node.input[0] = "louder"
    assert not recognised(tmp_path, network)


def test_a_large_product_of_an_input_takes_little_memory_to_look_at(tmp_path: Path) -> None:
    b = Builder()
    b.node("MatMul", "x", b.random(2048, 1024, name="w"), output="h")
    b.node("MatMul", "h", b.random(1024, 4), output="y")
    loaded = load_model(write_model(tmp_path / "model.onnx", b.model({"x": [1, 2048]}, ["y"])))
    tracemalloc.start()
    assert not front_end(loaded.model.graph, find_target("ort").layers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * b.initializers["w"].nbytes


def test_a_network_of_pictures_has_none(tmp_path: Path) -> None:
    assert not recognised(tmp_path, three_layers())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, RunResult]:
    folder = tmp_path_factory.mktemp("sound")
    model = write_model(folder / "model.onnx", sound_network())
    np.save(folder / "data.npy", tones(24))
    return {
        whole: calibrate(
            model, folder / "data.npy", folder / f"run{whole}", samples=16, quantize_front_end=whole
        )
        for whole in (False, True)
    }


def test_it_stays_in_float_unless_asked_for(runs: dict[bool, RunResult]) -> None:
    reasons = {layer.name: layer.reason for layer in runs[False].float_layers}
    assert all("--quantize-front-end" in reasons[name] for name in ("real", "imaginary", "mel"))
    assert not {"real", "imaginary"} & {layer.name for layer in runs[True].float_layers}
    decibels = {whole: run.holdout.before.sqnr_db for whole, run in runs.items() if run.holdout is not None}
    assert (decibels[False] or 0) > (decibels[True] or 0) + 6


def test_a_network_that_is_nothing_else_is_quantized(tmp_path: Path) -> None:
    network = sound_network()
    del network.graph.node[-3:]
    network.graph.output[0].name = "log"
    model = write_model(tmp_path / "model.onnx", network)
    np.save(tmp_path / "data.npy", tones(6))
    run = calibrate(model, tmp_path / "data.npy", tmp_path / "run", samples=4)
    assert not any("--quantize-front-end" in layer.reason for layer in run.float_layers)


@pytest.mark.parametrize("option", ["int16_layers", "layer_config"])
def test_what_is_set_for_it_is_refused_with_the_option_that_quantizes_it(tmp_path: Path, option: str) -> None:
    model = write_model(tmp_path / "model.onnx", sound_network())
    np.save(tmp_path / "data.npy", tones(6))
    (tmp_path / "layers.yaml").write_text("real: {bits: 16}\n")
    given = {"int16_layers": ("real",), "layer_config": tmp_path / "layers.yaml"}[option]
    with pytest.raises(UsageError, match=r"real.* stays float .*--quantize-front-end"):
        calibrate(model, tmp_path / "data.npy", tmp_path / "run", samples=4, **{option: given})


def test_mel_filters_behind_the_operator_of_a_transform_are_recognised(tmp_path: Path) -> None:
    b = Builder()
    window = b.constant(np.hanning(LENGTH).astype(np.float32))
    sizes = [b.constant(np.array(n)) for n in (LENGTH // 2, LENGTH)]
    spectrum = b.node("STFT", "x", sizes[0], window, sizes[1], onesided=1)
    power = b.node("ReduceSum", b.node("Mul", spectrum, spectrum), b.constant(np.array([-1])), keepdims=0)
    bands = np.zeros((LENGTH // 2 + 1, 10), np.float32)
    for band in range(10):
        bands[3 * band : 3 * band + 5, band] = 0.5
    mel = b.node("MatMul", power, b.constant(bands), output="mel")
    b.node("MatMul", b.node("Log", b.node("Abs", mel)), b.random(10, 4), output="y")
    assert recognised(tmp_path, b.model({"x": [1, 8 * LENGTH]}, ["y"], 17)) == ["mel"]
