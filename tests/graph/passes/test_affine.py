import numpy as np
import pytest
from networks import Builder, assert_computes_the_same, node_types

IMAGE = [1, 4, 6, 6]


def conv(b, **attributes):
    return b.conv("x", (4, 6), **attributes)


def transposed(b, group=1):
    weight = b.random(4, 6 // group, 2, 2)
    return b.node("ConvTranspose", "x", weight, b.random(6), strides=[2, 2], group=group)


COMPUTE = {
    "Conv": conv,
    "Conv without bias": lambda b: conv(b, bias=False),
    "Conv with asymmetric pads": lambda b: conv(b, pads=[0, 1, 2, 3]),
    "strided, dilated Conv": lambda b: conv(b, strides=[2, 1], dilations=[1, 2]),
    "Conv in groups": lambda b: conv(b, group=2),
    "Conv to 1x1": lambda b: conv(b, kernel=1, pads=[0] * 4),
    "ConvTranspose": transposed,
    "ConvTranspose in groups": lambda b: transposed(b, group=2),
}
FOLLOWERS = {
    "BatchNormalization": lambda b, t: b.batch_norm(t, 6, output="y"),
    "t * c": lambda b, t: b.node("Mul", t, b.random(6, 1, 1), output="y"),
    "c * t": lambda b, t: b.node("Mul", b.random(1, 6, 1, 1), t, output="y"),
    "t * scalar": lambda b, t: b.node("Mul", t, b.random(), output="y"),
    "t / c": lambda b, t: b.node("Div", t, b.positive(6, 1, 1), output="y"),
    "t + c": lambda b, t: b.node("Add", t, b.random(1, 6, 1, 1), output="y"),
    "t - c": lambda b, t: b.node("Sub", t, b.random(6, 1, 1), output="y"),
    "c - t": lambda b, t: b.node("Sub", b.random(6, 1, 1), t, output="y"),
    "1 - t": lambda b, t: b.node("Sub", b.constant(np.ones(1, np.float32)), t, output="y"),
}
LEFT_ALONE = {
    "c / t": lambda b, t: b.node("Div", b.random(6, 1, 1), t, output="y"),
    "a value a pixel": lambda b, t: b.node("Add", t, b.random(1, 1, 6, 6), output="y"),
    "a value a column": lambda b, t: b.node("Mul", t, b.random(6), output="y"),
    "five dimensions": lambda b, t: b.node("Mul", t, b.random(1, 1, 6, 1, 1), output="y"),
    "a batch of constants": lambda b, t: b.node("Add", t, b.random(3, 6, 1, 1), output="y"),
    "another tensor": lambda b, t: b.node("Add", t, "x2", output="y"),
    "itself": lambda b, t: b.node("Mul", t, t, output="y"),
    "training": lambda b, t: b.batch_norm(t, 6, output="y", outputs=3, training_mode=1),
}


@pytest.mark.parametrize("compute", COMPUTE)
@pytest.mark.parametrize("follower", FOLLOWERS)
def test_a_constant_factor_or_offset_a_channel_goes_into_the_weights(load, compute, follower):
    b = Builder()
    FOLLOWERS[follower](b, COMPUTE[compute](b))
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert len(node_types(loaded)) == 1
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("transposed_weight", [0, 1])
@pytest.mark.parametrize("follower", ["Mul", "Div", "Add", "Sub", "BatchNormalization"])
def test_it_goes_into_a_gemm_too(load, follower, transposed_weight):
    b = Builder()
    shape = (5, 3) if transposed_weight else (3, 5)
    t = b.node("Gemm", "x", b.random(*shape), b.random(5), transB=transposed_weight)
    if follower == "BatchNormalization":
        b.batch_norm(t, 5, output="y")
    else:
        b.node(follower, t, b.positive(5), output="y")
    proto = b.model({"x": [2, 3]}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Gemm"]
    assert_computes_the_same(loaded, proto)


def test_a_chain_of_them_goes_in_and_the_layer_is_named_after_the_last(load):
    b = Builder()
    t = b.batch_norm(conv(b, bias=False), 6)
    t = b.node("Add", b.node("Mul", t, b.random(6, 1, 1)), b.random(6, 1, 1), output="last")
    b.node("Relu", t, output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert [node.outputs[0].name for node in loaded.model.graph] == ["last", "y"]
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("follower", LEFT_ALONE)
def test_what_is_no_constant_a_channel_stays(load, follower):
    b = Builder()
    LEFT_ALONE[follower](b, conv(b))
    inputs = {"x": IMAGE} | ({"x2": [1, 6, 6, 6]} if follower == "another tensor" else {})
    proto = b.model(inputs, ["y"], 14)
    loaded = load(proto)
    assert len(node_types(loaded)) == 2
    assert_computes_the_same(loaded, proto)


def test_one_channel_that_a_constant_spreads_to_many_stays(load):
    b = Builder()
    b.node("Mul", b.conv("x", (4, 1)), b.random(1, 5, 1, 1), output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Mul"]
    assert_computes_the_same(loaded, proto)


def test_a_tensor_with_another_reader_or_that_is_an_output_keeps_its_values(load):
    b = Builder()
    read_twice, output = conv(b), conv(b, output="z")
    b.node("Sub", b.batch_norm(read_twice, 6), read_twice, output="y")
    b.batch_norm(output, 6, output="w")
    proto = b.model({"x": IMAGE}, ["y", "z", "w"])
    loaded = load(proto)
    assert_computes_the_same(loaded, proto)


def test_weights_that_two_convolutions_share_are_changed_in_one_alone(load):
    b = Builder()
    weight, bias = b.random(4, 4, 3, 3), b.random(4)
    one = b.node("Conv", "x", weight, bias, pads=[1] * 4)
    b.batch_norm(b.node("Conv", one, weight, bias, pads=[1] * 4), 4, output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Conv"]
    assert_computes_the_same(loaded, proto)


def test_a_batch_normalization_nobody_takes_in_becomes_a_depthwise_convolution(load):
    b = Builder()
    b.conv(b.node("Relu", b.batch_norm("x", 4)), (4, 6), output="y")
    proto = b.model({"x": ["N", 4, 6, 6]}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Relu", "Conv"]
    assert_computes_the_same(loaded, proto, batch=2)


def test_a_batch_normalization_of_a_matrix_stays(load):
    b = Builder()
    b.batch_norm("x", 4, output="y")
    proto = b.model({"x": [2, 4]}, ["y"])
    assert node_types(load(proto)) == ["BatchNormalization"]
    assert_computes_the_same(load(proto), proto)


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_further_outputs_mean_training_before_opset_14(load, opset):
    b = Builder()
    b.batch_norm(conv(b), 6, output="y", outputs=5)
    proto = b.model({"x": IMAGE}, ["y"], opset)
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "BatchNormalization"]
    assert_computes_the_same(loaded, proto)


def test_a_division_by_zero_stays_where_it_is(load):
    b = Builder()
    b.node("Div", conv(b), b.constant(np.array([1, 0, 2, 1, 0, 1], np.float32).reshape(6, 1, 1)), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y"]))) == ["Conv", "Div"]


def test_what_follows_a_batch_normalization_that_became_a_convolution_goes_into_it(load):
    b = Builder()
    normal = b.batch_norm(b.node("Concat", conv(b), conv(b), axis=1), 12)
    affine = b.node("Add", b.node("Mul", normal, b.positive(1, 12, 1, 1)), b.random(12, 1, 1), output="h")
    b.conv(b.node("Relu", affine), (12, 6), output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Conv", "Concat", "Conv", "Relu", "Conv"]
    assert_computes_the_same(loaded, proto)


AFFINE = {
    "factor and offset": lambda b, t: b.node(
        "Add", b.node("Mul", t, b.random(1, 6, 1, 1)), b.random(6, 1, 1)
    ),
    "offset and factor": lambda b, t: b.node(
        "Mul", b.node("Add", t, b.random(6, 1, 1)), b.random(1, 6, 1, 1)
    ),
    "factor": lambda b, t: b.node("Mul", b.random(6, 1, 1), t),
    "offset": lambda b, t: b.node("Add", t, b.random(6, 1, 1)),
    "less a constant": lambda b, t: b.node("Sub", t, b.random(6, 1, 1)),
    "from a constant": lambda b, t: b.node("Sub", b.random(6, 1, 1), t),
}


@pytest.mark.parametrize("affine", AFFINE)
@pytest.mark.parametrize("activation", [False, True])
def test_constants_a_channel_between_integer_kernels_become_a_depthwise_convolution(load, affine, activation):
    b = Builder()
    h = AFFINE[affine](b, b.node("MaxPool", conv(b), kernel_shape=[2, 2]))
    b.conv(b.node("Relu", h) if activation else h, (6, 6), output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "MaxPool", "Conv", *(["Relu"] if activation else []), "Conv"]
    assert_computes_the_same(loaded, proto)


def test_constants_a_channel_beside_float_operators_stay(load):
    for before, behind in (("Exp", "MaxPool"), ("MaxPool", "Exp")):
        b = Builder()
        shape = {"kernel_shape": [2, 2]}
        first = b.node(before, conv(b), **(shape if before == "MaxPool" else {}))
        scaled = b.node("Mul", first, b.random(6, 1, 1))
        b.conv(b.node(behind, scaled, **(shape if behind == "MaxPool" else {})), (6, 6), output="y")
        assert node_types(load(b.model({"x": IMAGE}, ["y"]))) == ["Conv", before, "Mul", behind, "Conv"]


def test_constants_a_channel_outside_the_layers_stay(load):
    b = Builder()
    scaled = b.node("Mul", b.node("MaxPool", "x", kernel_shape=[2, 2]), b.random(4, 1, 1))
    pooled = b.node("MaxPool", b.conv(scaled, (4, 6)), kernel_shape=[2, 2])
    b.node("MaxPool", b.node("Mul", pooled, b.random(6, 1, 1)), output="y", kernel_shape=[1, 1])
    loaded = load(b.model({"x": IMAGE}, ["y"]))
    assert node_types(loaded) == ["MaxPool", "Mul", "Conv", "MaxPool", "Mul", "MaxPool"]


def test_one_number_for_all_channels_stays(load):
    b = Builder()
    b.conv(b.node("Mul", b.node("MaxPool", conv(b), kernel_shape=[2, 2]), b.random()), (6, 6), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y"]))) == ["Conv", "MaxPool", "Mul", "Conv"]


def test_factors_and_offsets_of_a_normalization_stay(load):
    b = Builder()
    a = conv(b)
    centred = b.node("Sub", a, b.node("ReduceMean", a, axes=[1]))
    spread = b.node("Sqrt", b.node("ReduceMean", b.node("Mul", centred, centred), axes=[1]))
    scaled = b.node("Mul", b.node("Div", centred, spread), b.random(6, 1, 1))
    b.conv(b.node("Add", scaled, b.random(6, 1, 1)), (6, 4), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y"])))[-4:] == ["Div", "Mul", "Add", "Conv"]
