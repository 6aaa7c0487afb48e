import numpy as np
import onnxruntime
import pytest
from networks import Builder, assert_computes_the_same, node_types

from distq.graph.layers import Layer, compute_layer

LINEAR = {
    "bsk,kn->bsn": (["N", "S", 6], (6, 4)),
    "bsk,nk->bsn": (["N", "S", 6], (4, 6)),
    "bsd,dhk->bshk": (["N", "S", 6], (6, 2, 4)),
    "bshk,hkd->bsd": (["N", "S", 2, 4], (2, 4, 6)),
    "bks,kn->bsn": (["N", 6, "S"], (6, 4)),
    "bsk, kn -> nbs": (["N", "S", 6], (6, 4)),
}


@pytest.mark.parametrize("equation", LINEAR)
@pytest.mark.parametrize("swapped", [False, True])
def test_an_einsum_with_weights_becomes_a_layer_for_all_open_sizes(load, equation, swapped):
    shape, weights = LINEAR[equation]
    b = Builder(1)
    operands = ["x", b.random(*weights)]
    if swapped:
        terms = equation.replace(" ", "").split("->")
        equation = f"{','.join(terms[0].split(',')[::-1])}->{terms[1]}"
    b.node("Einsum", *(operands[::-1] if swapped else operands), equation=equation, output="y")
    proto = b.model({"x": shape}, ["y"], opset=13)
    loaded = load(proto)
    assert "Einsum" not in node_types(loaded)
    (layer,) = [found for node in loaded.model.graph if isinstance(found := compute_layer(node), Layer)]
    assert layer.axis == 1
    assert layer.add is not None
    rng = np.random.default_rng(2)
    given = onnxruntime.InferenceSession(proto.SerializeToString())
    made = onnxruntime.InferenceSession(loaded.serialized())
    for batch, length in ((1, 5), (3, 1), (2, 7)):
        sizes = [{"N": batch, "S": length}.get(size, size) for size in shape]
        feeds = {"x": rng.normal(size=sizes).astype(np.float32)}
        np.testing.assert_allclose(made.run(None, feeds)[0], given.run(None, feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("bqhd,bkhd->bhqk", [1, 3, 2, 4], [1, 5, 2, 4]),
        ("bhqk,bkhd->bqhd", [1, 2, 3, 5], [1, 5, 2, 4]),
        ("aecd,abcd->acbe", [1, 3, 2, 4], [1, 5, 2, 4]),
    ],
)
def test_an_einsum_of_two_tensors_becomes_a_product_of_both(load, equation, left, right):
    b = Builder(1)
    b.node("Einsum", "x", "z", equation=equation, output="y")
    proto = b.model({"x": left, "z": right}, ["y"], opset=13)
    loaded = load(proto)
    assert "Einsum" not in node_types(loaded)
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("equation", ["bsk,kn->bs", "bsk,sk->bsk", "bss,sn->bsn", "bsk,kn", "...k,kn->...n"])
def test_any_other_einsum_stays(load, equation):
    b = Builder(1)
    b.node("Einsum", "x", b.random(3, 3), equation=equation, output="y")
    assert "Einsum" in node_types(load(b.model({"x": [2, 3, 3]}, ["y"], opset=13)))
