import networks
import numpy as np
import pytest
from networks import Builder
from replica_helpers import Bench

from distq.calibration.bundle import unpack
from distq.calibration.histogram import Distribution
from distq.data.dataset import DatasetSpec, InputSpec
from distq.engine.local import LocalExecutor
from distq.errors import DataError
from distq.graph.probes import with_means, with_outputs
from distq.replica.float32 import LayerMeans, Observe, Outputs, float_outputs
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings


def same(one, other):
    first, second = one.to_arrays(), other.to_arrays()
    assert first.keys() == second.keys()
    for name, array in second.items():
        np.testing.assert_array_equal(first[name], array)


def test_a_distribution_is_that_of_all_values_of_a_tensor(tmp_path):
    bench = Bench(tmp_path, "many branches")
    tensors = tuple(q.name for q in bench.plan.quantizers)
    model = with_outputs(bench.loaded.model, tensors)
    unit = Observe(bench.executor.share(model), tensors, bench.data, bench.indices)
    result = bench.run(unit)
    session = Session(model, WorkerSettings(), float_network=True)
    rows = [dict(zip(session.outputs, session.run(f), strict=True)) | f for f in bench.feeds]
    for name, distribution in zip(tensors, unpack(result), strict=True):
        values = np.concatenate([row[name].ravel() for row in rows])
        same(distribution, Distribution.of(values))
    assert result["unreadable"].size == result["reasons"].size == 0


def one_layer(folder, samples):
    """x - Log - Conv, with these samples on disk: the logarithm of what is not positive is no number."""
    b = Builder()
    b.conv(b.node("Log", "x", output="logarithm"), (1, 2), output="y")
    loaded = networks.load(folder, b.model({"x": [1, 1, 3, 3]}, ["y"]))
    np.save(folder / "samples.npy", samples)
    data = DatasetSpec.create(folder / "samples.npy", [InputSpec("x", (1, 1, 3, 3), "float32")])
    executor = LocalExecutor(WorkerSettings())
    tensors = ("x", "logarithm", "y")
    return executor, executor.share(with_outputs(loaded.model, tensors)), tensors, data


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_nan_or_infinity_in_an_activation_names_the_tensor_and_the_sample(tmp_path, value):
    samples = np.ones((3, 1, 3, 3), np.float32)
    samples[1, 0, 1, 2] = value
    executor, model, tensors, data = one_layer(tmp_path, samples)
    with pytest.raises(DataError, match="tensor logarithm holds NaN or inf") as caught:
        list(executor.run([Observe(model, tensors, data, (0, 1, 2))]))
    assert data.open().name(1) in str(caught.value)
    assert len(list(executor.run([Observe(model, tensors, data, (0, 2))]))) == 1


def test_what_cannot_be_read_is_named_and_left_out(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"no picture")
    b = Builder()
    b.conv("x", (3, 2), output="y")
    loaded = networks.load(tmp_path, b.model({"x": [1, 3, 4, 4]}, ["y"]))
    data = DatasetSpec.create(folder, [InputSpec("x", (1, 3, 4, 4), "float32")])
    with LocalExecutor(WorkerSettings()) as executor:
        unit = Observe(executor.share(loaded.serialized()), ("y",), data, (0, 1))
        result = next(executor.run([unit]))[1]
    assert result["unreadable"].tolist() == [0, 1]
    assert "a.png" in result["reasons"][0]
    assert next(unpack(result)).count == 0


def test_means_have_a_row_an_image(tmp_path):
    bench = Bench(tmp_path, "ConvTranspose")
    layers = bench.plan.layers
    unit = LayerMeans(
        bench.executor.share(with_means(bench.loaded.model, layers)),
        tuple(layer.name for layer in layers),
        bench.data,
        bench.indices,
    )
    result = bench.run(unit)
    session = Session(
        with_outputs(bench.loaded.model, [layer.output for layer in layers]),
        WorkerSettings(),
        float_network=True,
    )
    for image, feeds in enumerate(bench.feeds):
        for i, values in enumerate(session.run(feeds)):
            assert result[str(i)].dtype == np.float64
            np.testing.assert_allclose(result[str(i)][image], values.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_float_outputs_are_computed_once_and_are_those_of_the_model(tmp_path):
    bench = Bench(tmp_path, "four outputs")
    first = float_outputs(bench.worker, bench.float_model, bench.data, 2)
    assert float_outputs(bench.worker, bench.float_model, bench.data, 2) is first
    wanted = Session(bench.loaded.serialized(), WorkerSettings(), float_network=True).run(bench.feeds[2])
    for one, other in zip(first, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_power_and_elements_of_each_output(tmp_path):
    bench = Bench(tmp_path, "four outputs")
    result = bench.run(Outputs(bench.float_model, bench.data, bench.indices))
    outputs = Session(bench.loaded.serialized(), WorkerSettings(), float_network=True).run(bench.feeds[1])
    assert result["elements"].tolist() == [o.size for o in outputs]
    np.testing.assert_allclose(result["power"][1], [np.sum(o.astype(np.float64) ** 2) for o in outputs])


def test_power_leaves_out_what_is_infinite(tmp_path):
    b = Builder()
    hidden = b.conv("x", (1, 1), kernel=1)
    wide = b.node("Concat", hidden, hidden, axis=3)
    b.node(
        "Where",
        b.constant(np.tile([True, False, True], 2)),
        wide,
        b.constant(np.float32(-np.inf)),
        output="y",
    )
    loaded = networks.load(tmp_path, b.model({"x": [1, 1, 3, 3]}, ["y"]))
    samples = np.ones((2, 1, 3, 3), np.float32)
    np.save(tmp_path / "samples.npy", samples)
    data = DatasetSpec.create(tmp_path / "samples.npy", [InputSpec("x", (1, 1, 3, 3), "float32")])
    executor = LocalExecutor(WorkerSettings())
    unit = Outputs(executor.share(loaded.serialized()), data, (0, 1))
    power = next(executor.run([unit]))[1]["power"]
    (output,) = Session(loaded.serialized(), WorkerSettings(), float_network=True).run({"x": samples[:1]})
    assert np.isinf(output).any()
    np.testing.assert_allclose(power, np.sum(np.square(output[np.isfinite(output)], dtype=np.float64)))
