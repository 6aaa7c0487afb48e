import numpy as np
import onnx
import onnxruntime
import pytest
from networks import SETTINGS, Builder
from replica_helpers import Bench

from distq.errors import ExecutionError, UsageError
from distq.replica import cuda
from distq.replica.saturation import reads_int8
from distq.replica.session import (
    Session,
    device_of,
    fuse,
    is_float,
)
from distq.replica.worker import WorkerSettings


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, "two inputs")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(cuda, "gpu_count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(bench, device):
    with pytest.raises(UsageError, match=f"--device {device}: .*--device cpu or auto"):
        Session(bench.loaded.serialized(), WorkerSettings(device))


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_processor_where_there_is_no_gpu():
    assert device_of(WorkerSettings("auto")) == device_of(WorkerSettings("cpu")) == "cpu"


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(cuda, "gpu_count", lambda: 2)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    names = ("auto", "cuda", "cuda:1", "cpu")
    assert [device_of(WorkerSettings(name)) for name in names] == ["cuda:0", "cuda:0", "cuda:1", "cpu"]


@pytest.mark.usefixtures("no_gpu")
def test_on_a_gpu_the_model_is_run_as_exported_also_when_the_driver_has_none(bench):
    assert fuse(bench.quantized.exported, WorkerSettings("cuda")) == bench.quantized.exported


def test_outputs_come_in_order_or_as_wanted_and_feeds_may_hold_more(bench):
    opened = Session(bench.loaded.serialized(), SETTINGS)
    assert (opened.inputs, opened.outputs) == (("left", "right"), ("y",))
    feeds = {**bench.feeds[0], "nothing of it": np.zeros(3)}
    np.testing.assert_array_equal(opened.run(feeds)[0], opened.run(feeds, ["y"])[0])


def test_what_onnx_runtime_refuses_is_told_in_one_line(bench):
    with pytest.raises(ExecutionError, match="cannot load the model") as caught:
        Session(b"no model", SETTINGS)
    assert "\n" not in str(caught.value)
    opened = Session(bench.loaded.serialized(), SETTINGS)
    for feeds in ({}, {"left": np.zeros((1, 4, 8, 8), np.float64), "right": bench.feeds[0]["right"]}):
        with pytest.raises(ExecutionError, match="ONNX Runtime failed") as caught:
            opened.run(feeds)
        assert "\n" not in str(caught.value)


def test_an_output_between_transposes_around_a_product_is_kept():
    b = Builder()
    turned = b.node("Transpose", "x", perm=[1, 0], output="turned")
    b.node("Transpose", b.node("Gemm", turned, b.random(3, 4)), perm=[1, 0], output="y")
    model = b.model({"x": [3, 5]}, ["y", "turned"]).SerializeToString()
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    _, found = Session(model, SETTINGS, fused=True, float_network=True).run({"x": x})
    assert np.array_equal(found, x.T)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)])
def test_a_transposed_matrix_times_a_vector_is_right(shape):
    b = Builder()
    axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    b.node("MatMul", b.node("Transpose", "x", perm=axes), b.random(3), output="y")
    proto = b.model({"x": list(shape)}, ["y"])
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wanted = np.swapaxes(x, -1, -2) @ onnx.numpy_helper.to_array(proto.graph.initializer[0])
    (found,) = Session(proto.SerializeToString(), SETTINGS, fused=True, float_network=True).run({"x": x})
    assert np.allclose(found, wanted, atol=1e-5)


def test_literally_runs_every_node_as_written_and_fused_runs_integer_kernels(bench):
    fused = onnx.load_model_from_string(fuse(bench.quantized.exported, SETTINGS))
    types = {node.op_type for node in fused.graph.node}
    assert {"QLinearConv", "QLinearAdd"} <= types
    literal = Session(bench.quantized.exported, SETTINGS).run(bench.feeds[0])[0]
    step = bench.table["y"].scale
    kernel = Session(bench.quantized.exported, SETTINGS, fused=True).run(bench.feeds[0])[0]
    assert abs(literal - kernel).max() <= 2 * step


def test_a_fused_network_run_as_written_gives_what_fusing_gave(bench):
    fused = Session(fuse(bench.quantized.exported, SETTINGS), SETTINGS)
    direct = Session(bench.quantized.exported, SETTINGS, fused=True)
    for feeds in bench.feeds:
        np.testing.assert_array_equal(fused.run(feeds)[0], direct.run(feeds)[0])


def test_two_threads_give_the_bits_of_one(bench):
    one, two = (Session(bench.quantized.exported, WorkerSettings(threads=n), fused=True) for n in (1, 2))
    for feeds in bench.feeds:
        np.testing.assert_array_equal(one.run(feeds)[0], two.run(feeds)[0])


def test_a_float_network_is_told_from_one_with_quantizers(bench):
    assert is_float(bench.loaded.serialized())
    assert not is_float(bench.quantized.exported)
    assert not is_float(bench.fused)


@pytest.mark.parametrize("candidate", [False, True])
def test_int8_activations_run_where_integer_kernels_saturate(monkeypatch, candidate):
    """ONNX Runtime makes weights uint8 for such a processor, and has no kernel for those and int8 inputs."""
    monkeypatch.setattr("distq.replica.session.has_exact_integer_kernels", lambda: False)
    b = Builder()
    step, zero = b.constant(np.float32(0.03)), b.constant(np.int8(0), "zero")
    weight = b.constant(b.rng.integers(-127, 128, (4, 3)).astype(np.int8))
    weights = b.node("DequantizeLinear", weight, b.constant(np.float32(0.01)), b.constant(np.int8(0)))
    data = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", step, zero), step, zero)
    b.node("MatMul", data, weights, output="y")
    proto = b.model({"x": ["n", 4, 4]}, ["y"])
    x = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    feeds = {"x": x}
    if candidate:  # a search feeds the numbers it tries
        proto.graph.initializer.remove(next(t for t in proto.graph.initializer if t.name == "zero"))
        proto.graph.input.append(onnx.helper.make_tensor_value_info("zero", onnx.TensorProto.INT8, []))
        feeds["zero"] = np.array(0, np.int8)
    model = proto.SerializeToString()
    assert reads_int8(proto.graph)
    (found,) = Session(model, SETTINGS, fused=True).run(feeds)
    np.testing.assert_allclose(found, Session(model, SETTINGS).run(feeds)[0], rtol=1e-5, atol=1e-6)
    assert fuse(model, SETTINGS)
