import numpy as np
import onnx
import pytest
from networks import Builder, assert_computes_the_same, feeds_of, node_types, run_literally
from onnx import helper

IMAGE = [2, 4, 6, 6]
SYMBOLIC = ["N", 4, 6, 6]


def flattened(b, t, output):
    """Reshape to (batch, the rest) as PyTorch wrote x.view(x.size(0), -1)."""
    shape = b.node("Shape", t)
    batch = b.node("Unsqueeze", b.node("Gather", shape, b.constant(np.array(0)), axis=0), b.constant([0]))
    return b.node("Reshape", t, b.node("Concat", batch, b.constant([-1]), axis=0), output=output)


def network(shape):
    b = Builder()
    b.node("Gemm", flattened(b, b.conv("x", (4, 2)), "flat"), b.random(72, 5), output="y")
    return b.model({"x": shape}, ["y"])


def test_shape_arithmetic_of_a_fixed_batch_is_done_once(load):
    loaded = load(network(IMAGE))
    assert node_types(loaded) == ["Conv", "Reshape", "Gemm"]
    assert_computes_the_same(loaded, network(IMAGE))


def test_shape_arithmetic_of_a_symbolic_batch_is_left_intact(load):
    loaded = load(network(SYMBOLIC))
    assert "Shape" in node_types(loaded)
    for batch in (1, 3):
        assert_computes_the_same(loaded, network(SYMBOLIC), batch)


def test_sizes_that_do_not_depend_on_the_batch_are_folded_all_the_same(load):
    b = Builder()
    t = b.conv("x", (4, 2))
    height = b.node("Gather", b.node("Shape", t), b.constant(np.array([2])), axis=0)
    floats = b.node("Cast", height, to=onnx.TensorProto.FLOAT)
    double = b.node("Cast", b.node("Mul", floats, b.constant(np.float32(2))), to=onnx.TensorProto.INT64)
    first = b.node("Slice", b.node("Shape", t), b.constant([0]), b.constant([2]))
    sizes = b.node("Concat", first, double, double, axis=0)
    b.node("Resize", t, "", "", sizes, output="y", mode="nearest")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Resize"]
    assert_computes_the_same(loaded, proto)


def test_constant_nodes_become_initializers_also_as_weights(load):
    b = Builder()
    weight = b.random(4, 4, 3, 3)
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, (4, 4, 3, 3), b.initializers.pop(weight).ravel())
    b.node("Constant", output="w", value=tensor)
    b.node("Constant", output="slope", value_float=0.5)
    b.node("PRelu", b.node("Conv", "x", b.node("Neg", "w")), "slope", output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "PRelu"]
    assert_computes_the_same(loaded, proto)


def test_an_output_that_is_constant_stays_an_output(load):
    b = Builder()
    b.conv("x", (4, 2), output="y")
    b.node("Exp", b.node("Neg", b.random(3)), output="priors")
    proto = b.model({"x": IMAGE}, ["y", "priors"])
    assert_computes_the_same(load(proto), proto)


def test_random_generators_stay_random(load):
    b = Builder()
    noise = b.node("RandomNormal", shape=[2, 2, 6, 6])
    b.node("Add", b.conv("x", (4, 2)), noise, output="y")
    loaded = load(b.model({"x": IMAGE}, ["y"]))
    assert "RandomNormal" in node_types(loaded)


def test_branches_of_an_if_that_read_folded_constants_still_work(load):
    b = Builder()
    offset = b.node("Neg", b.random(4, 6, 6), output="offset")
    t = b.conv("x", (4, 4), output="t")
    branches = []
    for op in ("Add", "Sub"):
        end = helper.make_tensor_value_info(op, onnx.TensorProto.FLOAT, IMAGE)
        branches.append(helper.make_graph([helper.make_node(op, [t, offset], [op])], op, [], [end]))
    condition = b.node("Greater", b.node("ReduceSum", "x", keepdims=0), b.constant(np.float32(0)))
    b.node("If", condition, output="y", then_branch=branches[0], else_branch=branches[1])
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    for sign in (1, -1):
        feeds = {"x": sign * np.abs(feeds_of(proto)["x"])}
        found, wanted = run_literally(loaded.serialized(), feeds), run_literally(proto, feeds)
        np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-5)


def spread_by(op):
    """A network in which 1 KB of constants is spread over 4 MB by an operator."""
    b = Builder()
    row, sizes = b.random(1, 256, 1, 1), b.constant(np.array([1, 256, 64, 64]))
    if op == "Expand":
        large = b.node("Expand", row, sizes)
    elif op == "Tile":
        large = b.node("Tile", row, b.constant(np.array([1, 1, 64, 64])))
    else:
        large = b.node("ConstantOfShape", b.node("Concat", sizes, b.constant(np.array([1])), axis=0))
        large = b.node("Squeeze", large, b.constant(np.array([4])))
    b.node("Add", b.conv("x", (4, 256)), large, output="y")
    return b.model({"x": [1, 4, 64, 64]}, {"y": [1, 256, 64, 64]})


@pytest.mark.parametrize("op", ["Expand", "Tile", "ConstantOfShape"])
def test_what_spreads_a_few_values_over_a_large_tensor_is_computed_at_run_time(load, op):
    proto = spread_by(op)
    loaded = load(proto)
    assert op in node_types(loaded)
    assert "Concat" not in node_types(loaded)  # what it reads is folded all the same
    assert len(loaded.serialized()) < 2 * len(proto.SerializeToString())
    assert_computes_the_same(loaded, proto)


def test_weights_may_grow_twofold_whatever_their_size(load):
    b = Builder()
    halves = b.constant(np.random.default_rng(0).normal(size=(512, 1024)).astype(np.float16))
    b.node("MatMul", "x", b.node("Cast", halves, to=onnx.TensorProto.FLOAT), output="y")
    assert node_types(load(b.model({"x": [1, 512]}, ["y"]))) == ["Gemm"]


def test_a_result_too_large_to_compute_is_not_asked_for(load):
    b = Builder()
    t = b.node("ConstantOfShape", b.constant(np.array([1 << 20, 1 << 20])))
    few = b.node("Slice", t, b.constant([0, 0]), b.constant([1, 3]), b.constant([0, 1]))
    b.node("Add", b.node("Gemm", "x", b.random(4, 3)), few, output="y")
    assert "ConstantOfShape" in node_types(load(b.model({"x": [1, 4]}, {"y": [1, 3]})))
