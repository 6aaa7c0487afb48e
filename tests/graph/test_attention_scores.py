import numpy as np
import onnx
import pytest
from job_helpers import calibrate
from networks import SETTINGS, Builder, Quantized, sqnr
from onnx import TensorProto

from distq.graph.placement import make_plan
from distq.graph.scores import LONG_ROW, long_shares
from distq.replica.session import Session
from distq.targets.ort import ORT

KEYS, WIDTH = 12, 16
LEAST_FLOAT = float(np.finfo(np.float32).min)


def attention(on_scores, keys=KEYS, spread=1.0, axis=-1, name=None):
    """x - three MatMul - scores - what ``on_scores(builder, scores)`` adds - Softmax - MatMul - MatMul."""
    b = Builder(3)
    query, key, value = (b.node("MatMul", "x", b.random(WIDTH, WIDTH, scale=s)) for s in (spread, 0.2, 0.2))
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 1]), output="scores")
    shares = b.node("Softmax", on_scores(b, scores), axis=axis, output="shares")
    b.node("MatMul", b.node("MatMul", shares, value), b.random(WIDTH, 4), output="y")
    return b.model({"x": [1, name or keys, WIDTH], "mask": [1, 1, keys]}, ["y"], opset=17)


def masking(low):
    """The mask, computed in the graph: ``low`` where the input is not above 0, else 0."""

    def of(b):
        numbers = (b.constant(np.float32(n)) for n in (0, 0, low))
        zero, nothing, masked = numbers
        return b.node("Where", b.node("Greater", "mask", zero), nothing, masked)

    return of


def added(b, scores, low=-1e4):
    return b.node("Add", scores, masking(low)(b), output="masked")


def with_bias(b, scores):
    """A bias that is computed, and the mask added to it first."""
    bias = b.node("Unsqueeze", b.node("ReduceMean", "x", axes=[2], keepdims=0), b.constant([1]))
    return b.node("Add", scores, b.node("Add", bias, masking(-1e4)(b), output="bias"), output="masked")


def reshaped(b, scores):
    split = b.node("Reshape", added(b, scores), b.constant([1, 2, KEYS // 2, KEYS]), output="split")
    return b.node("Reshape", split, b.constant([1, KEYS, KEYS]), output="together")


def selected(b, scores):
    keep = b.node("Greater", "mask", b.constant(np.float32(0)))
    return b.node(
        "Reshape", b.node("Where", keep, scores, b.constant(np.float32(-1e9))), b.constant([0, 0, -1])
    )


def scaled(b, scores):
    gain = b.node("Sigmoid", b.node("ReduceMax", "x", keepdims=1))
    return b.node("Mul", added(b, scores), gain, output="scaled")


def bounded(b, scores):
    return b.node("Max", added(b, scores, LEAST_FLOAT), b.constant(np.float32(LEAST_FLOAT)), output="bounded")


VARIANTS = {f.__name__: f for f in (added, with_bias, reshaped, selected, scaled, bounded)}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_masked_scores_are_never_quantized_and_the_network_stays_close_to_float(load, name, scheme):
    network = Quantized(load(attention(VARIANTS[name])), scheme=scheme)
    assert all(abs(row.min) < 1000 for row in network.table.values())
    assert "shares" in network.plan.by_tensor
    assert "scores" not in network.plan.by_tensor
    assert network.sqnr() > 22


@pytest.mark.parametrize("low", [-1e4, -65504.0, LEAST_FLOAT, -np.inf])
def test_a_masked_place_has_no_share_whatever_the_mask_is_made_of(load, low):
    network = Quantized(load(attention(lambda b, s: added(b, s, low))))
    model = onnx.load_model_from_string(network.exported)
    model.graph.output.append(onnx.helper.make_tensor_value_info("shares_quantized", TensorProto.UINT8, None))
    session = Session(model.SerializeToString(), SETTINGS)
    for feeds in network.feeds:
        shares = dict(zip(session.outputs, session.run(feeds), strict=True))["shares_quantized"]
        assert not shares[..., feeds["mask"][0, 0] <= 0].any()
        assert shares.any()


def test_a_sum_that_another_node_reads_too_stays_on_integers(load):
    def read_twice(b, scores):
        masked = b.node("Add", scores, b.node("MatMul", "x", b.random(WIDTH, KEYS)), output="masked")
        b.node("MatMul", masked, b.random(KEYS, 4), output="z")
        return masked

    proto = attention(read_twice)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, KEYS, 4]))
    assert "masked" in make_plan(load(proto).model, ORT, "auto").by_tensor


def test_scores_go_to_a_softmax_in_float_and_its_result_is_quantized(load):
    reshaped_scores = attention(lambda b, s: b.node("Reshape", s, b.constant([0, -1, KEYS])))
    plan = make_plan(load(reshaped_scores).model, ORT, "auto")
    assert "scores" not in plan.by_tensor
    assert "shares" in plan.by_tensor
    assert not [why for _, why in plan.float_nodes if "mask" in why]


@pytest.mark.parametrize("keys", [16, 64, 300])
@pytest.mark.parametrize("spread", [1e-4, 0.05, 1.0])
@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_the_fused_softmax_writes_what_float_does_however_flat_attention_is(load, keys, spread, scheme):
    network = Quantized(load(attention(lambda _, scores: scores, keys, spread)), scheme=scheme)
    fused = Session(network.exported, SETTINGS, fused=True)
    literal = Session(network.exported, SETTINGS)
    found = [o for feeds in network.feeds for o in fused.run(feeds)]
    assert sqnr(found, [o for feeds in network.feeds for o in literal.run(feeds)]) > 25
    assert network.sqnr() > 20


def between_convs(width, spread, axis=-1):
    """Conv - Softmax - Conv: both quantized, so that an integer kernel takes the place of the Softmax."""
    b = Builder(3)
    scores = b.node("Conv", "x", b.random(4, 4, 1, 1, scale=spread), output="scores")
    b.conv(b.node("Softmax", scores, axis=axis, output="shares"), (4, 2), output="y")
    return b.model({"x": [1, 4, 8, width]}, ["y"], opset=17)


def test_the_range_behind_a_softmax_holds_twice_the_share_of_one_among_equals(load):
    for width in (16, 300):
        flat = Quantized(load(between_convs(width, 1e-4)))
        assert flat.table["shares"].max == pytest.approx(2 / width)
        assert flat.table["shares"].zero_point == 0
    first = Quantized(load(between_convs(16, 1e-4, axis=2)))
    assert first.table["shares"].max == pytest.approx(2 / 8)
    steep = Quantized(load(between_convs(16, 30.0)))
    assert steep.table["shares"].max == steep.table["shares"].observed_max


@pytest.mark.parametrize("keys", [3, 64, 300])
@pytest.mark.parametrize("spread", [1e-4, 1.0])
def test_scores_of_rows_of_any_length_go_to_the_softmax_in_float(load, keys, spread):
    loaded = load(attention(lambda _, scores: scores, keys, spread, name="keys"))
    network = Quantized(loaded, batch=keys)
    assert "scores" not in network.plan.by_tensor
    row = network.table["shares"]
    assert row.max == row.observed_max
    assert network.sqnr() > 20


def test_a_softmax_over_unknown_rows_that_no_matmul_writes_has_room_for_a_row_of_one(load):
    b = Builder(1)
    scores = b.conv("x", (4, 4), output="scores")
    b.conv(b.node("Softmax", scores, axis=-1, output="shares"), (4, 2), output="y")
    plan = make_plan(load(b.model({"x": [1, 4, 8, "width"]}, ["y"])).model, ORT, "auto")
    assert plan.by_tensor["shares"].least_high == 2.0
    assert plan.by_tensor["scores"].least_high == 0.0


def test_a_softmax_along_a_batch_that_is_compared_with_itself_may_have_one_column(load):
    b = Builder(1)
    scores = b.node("MatMul", "x", b.node("Transpose", "x", perm=[1, 0]), output="scores")
    b.node("MatMul", b.node("Softmax", scores, axis=1, output="shares"), "x", output="y")
    network = Quantized(load(b.model({"x": ["batch", 4]}, ["y", "scores"])), batch=1)
    assert "scores" not in network.plan.by_tensor
    assert network.table["shares"].max == 1.0
    assert network.sqnr() > 30


def test_a_softmax_of_float_scores_keeps_its_observed_range(load):
    network = Quantized(load(attention(added, spread=1e-4)))
    row = network.table["shares"]
    assert row.max == row.observed_max


@pytest.mark.parametrize(("width", "axis"), [(1, -1), ("batch", 0), ("batch", -3)])
def test_a_softmax_over_a_row_of_one_is_one(load, width, axis):
    b = Builder(1)
    scores = b.node("MatMul", "x", b.random(4, 1))
    b.node("MatMul", b.node("Softmax", scores, axis=axis, output="shares"), b.random(1, 3), output="y")
    shape = [1, 3, 4] if axis == -1 else [width, 3, 4]
    assert Quantized(load(b.model({"x": shape}, ["y"]))).sqnr() > 30


def attention_of(keys, opset=17, *, turned=False):
    """Shares times values, or values times shares turned around."""
    b = Builder(3)
    query, key, value = (b.node("MatMul", "x", b.random(WIDTH, WIDTH)) for _ in range(3))
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 1]))
    shares = b.node("Softmax", scores, axis=2)
    if turned:
        shares, value = (b.node("Transpose", v, perm=[0, 2, 1]) for v in (shares, value))
        mixed = b.node("Transpose", b.node("MatMul", value, shares, output="means"), perm=[0, 2, 1])
    else:
        mixed = b.node("MatMul", shares, value, output="means")
    b.node("MatMul", mixed, b.random(WIDTH, 4), output="y")
    return b.model({"x": [1, keys, WIDTH]}, ["y"], opset=opset)


@pytest.mark.parametrize(("keys", "long"), [(LONG_ROW, False), (LONG_ROW + 1, True), ("length", True)])
@pytest.mark.parametrize("turned", [False, True])
def test_long_rows_of_shares_are_found_in_either_order(load, keys, long, turned):
    loaded = load(attention_of(keys, turned=turned))
    assert [n.outputs[0].name for n in long_shares(tuple(loaded.model.graph))] == ["means"] * long


def test_shares_of_an_older_softmax_are_found(load):
    assert long_shares(tuple(load(attention_of("length", opset=12)).model.graph))


def test_what_a_softmax_writes_in_front_of_constant_weights_is_no_share(load):
    b = Builder(3)
    rows = b.node("Softmax", b.node("MatMul", "x", b.random(WIDTH, 80)), axis=-1)
    b.node("MatMul", rows, b.random(80, 4), output="y")
    assert not long_shares(tuple(load(b.model({"x": [1, 80, WIDTH]}, ["y"], opset=17)).model.graph))


@pytest.mark.parametrize("target", ["ort", "openvino"])
@pytest.mark.parametrize("whole", [False, True])
def test_long_rows_stay_in_float_unless_asked_for(tmp_path, target, whole):
    (tmp_path / "model.onnx").write_bytes(attention_of(80).SerializeToString())
    rows = np.random.default_rng(0).standard_normal((12, 1, 80, WIDTH)).astype(np.float32)
    np.save(tmp_path / "data.npy", rows)
    given = {"samples": 8, "target": target, "quantize_shares": whole}
    run = calibrate(tmp_path / "model.onnx", tmp_path / "data.npy", tmp_path / "run", **given)
    reasons = {layer.name: layer.reason for layer in run.float_layers}
    assert ("--quantize-shares" in reasons.get("means", "")) is not whole
    table = run.out / "thresholds.json"
    given = {**given, "table": table}
    again = calibrate(tmp_path / "model.onnx", tmp_path / "data.npy", tmp_path / "again", **given)
    assert (again.out / "model.int8.onnx").read_bytes() == (run.out / "model.int8.onnx").read_bytes()
    if target == "ort":
        assert run.integer_kernels.layers == (5 if not whole else 6)
