import numpy as np
import onnx
import pytest
from networks import SETTINGS, Builder, Quantized, feeds_of, run_literally
from onnx import TensorProto, helper
from zoo import NETWORKS, branched

from distq.graph.names import Names
from distq.graph.subgraph import Network
from distq.replica.session import Session, fuse

IMAGE = [1, 4, 8, 8]


def diamond():
    r"""x - a - b - d - y, with c beside b, and e on the side: a - e (an output)."""
    b = Builder()
    a = b.node("Mul", "x", b.random(1, name="k"), output="a")
    left, right = b.node("Relu", a, output="b"), b.node("Add", a, b.random(1, name="m"), output="c")
    b.node("Exp", b.node("Add", left, right, output="d"), output="y")
    b.node("Neg", a, output="e")
    return Network(b.model({"x": IMAGE}, ["y", "e"]).SerializeToString())


def outputs_of(network, nodes):
    return {name for i in nodes for name in network.nodes[i].output}


def test_behind_a_tensor_is_what_writes_it_and_what_depends_on_it():
    network = diamond()
    assert outputs_of(network, network.behind(["c"])) == {"c", "d", "y"}
    assert outputs_of(network, network.behind(["b", "e"])) == {"b", "d", "y", "e"}


def test_before_a_tensor_is_what_must_run_unless_it_is_there():
    network = diamond()
    assert outputs_of(network, network.before(["d"])) == {"a", "b", "c", "d"}
    assert outputs_of(network, network.before(["d"], available=["a", "c"])) == {"b", "d"}
    assert not network.before(["d"], available=["d"])
    assert not network.before(["x"])


def test_the_frontier_is_what_crosses_and_no_constant():
    network = diamond()
    assert network.frontier(network.behind(["c"])) == ("a", "b")
    assert network.frontier(network.behind(["a"])) == ("x",)


def test_constants_of_a_part_are_sorted():
    network = diamond()
    assert network.constants_of(network.before(["y"])) == ("k", "m")
    assert network.constants_of(network.behind(["c"])) == ("m",)


def test_listed_initializers_are_no_inputs():
    b = Builder()
    b.conv("x", (4, 4), output="y")
    assert set(Network(b.model({"x": IMAGE}, ["y"], 8, listed=True).SerializeToString()).inputs) == {"x"}


def test_a_part_reads_what_it_is_given_and_computes_what_is_asked():
    network = diamond()
    x = {"x": np.random.default_rng(0).normal(size=IMAGE).astype(np.float32)}
    whole = run_literally(network.proto, x)
    middle = run_literally(network.extract(network.inputs, ["a", "b"], {}), x)
    end = run_literally(network.extract(["a", "b"], ["y"], {}), middle)
    np.testing.assert_array_equal(end["y"], whole["y"])


def test_constants_can_be_replaced_and_made_inputs():
    network = diamond()
    x = {"x": np.ones(IMAGE, np.float32)}
    part = network.extract(
        network.inputs,
        ["c"],
        {"k": onnx.numpy_helper.from_array(np.array([2], np.float32), "k")},
        promote=["m"],
    )
    assert run_literally(part, {**x, "m": np.array([3], np.float32)})["c"].max() == 5


def test_a_tensor_that_only_the_branches_of_an_if_read_crosses_too():
    b = Builder()
    inner = b.node("Relu", "x", output="inner")
    b.node("Neg", inner, output="outer")
    branches = []
    for op, read in (("Exp", "outer"), ("Abs", "inner")):
        made = [
            helper.make_node(op, [read], [f"{op}0"]),
            helper.make_node("Mul", [f"{op}0", "k"], [f"{op}1"]),
        ]
        end = helper.make_tensor_value_info(f"{op}1", TensorProto.FLOAT, IMAGE)
        branches.append(helper.make_graph(made, op, [], [end]))
    b.constant(np.float32(2), "k")
    b.node("If", "which", output="y", then_branch=branches[0], else_branch=branches[1])
    proto = b.model({"x": IMAGE, "which": []}, {"y": IMAGE})
    proto.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    network = Network(proto.SerializeToString())
    assert set(network.frontier(network.behind(["y"]))) == {"which", "outer", "inner"}
    assert network.constants_of(network.behind(["y"])) == ("k",)
    assert outputs_of(network, network.behind(["inner"])) == {"inner", "outer", "y"}


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("target", ["ort", "openvino"])
@pytest.mark.parametrize("name", ["many branches", "ConvTranspose", "MatMul of two tensors", "four outputs"])
def test_front_and_tail_together_are_the_whole_network_bit_for_bit(load, name, target, scheme):
    quantized = Quantized(load(NETWORKS[name]()), target, scheme, samples=1)
    graph = fuse(quantized.exported, SETTINGS)
    network, fused = Network(graph), graph != quantized.exported
    feeds = quantized.feeds[0]
    whole = Session(quantized.exported, SETTINGS, fused=True).run(feeds)
    for quantizer in quantized.plan.quantizers:
        tail = network.behind([Names().quantized(t) for t in quantizer.tensors])
        cut = network.frontier(tail)
        made = [name for name in cut if name not in feeds]
        front = (
            Session(network.extract(network.inputs, made, {}), SETTINGS, fused=True).run(feeds)
            if made
            else []
        )
        env = {**feeds, **dict(zip(made, front, strict=True))}
        reached = [o for o in network.outputs if network.producer[o] in tail]
        found = Session(network.extract(cut, reached, {}), SETTINGS, fused=True).run(env)
        for output, array in zip(reached, found, strict=True):
            # a graph run as written, for a processor whose kernels saturate, is fused part by part
            near = 0 if fused else 1e-5
            np.testing.assert_allclose(array, whole[network.outputs.index(output)], near, near / 10)


def test_types_of_all_tensors_of_a_fused_network_are_known(load):
    quantized = Quantized(load(branched()))
    network = Network(fuse(quantized.exported, SETTINGS))
    assert network.types.keys() >= network.producer.keys()
    assert network.types["stem_quantized"].tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {network.types[n].tensor_type.elem_type for n in ("boxes", "x")} == {onnx.TensorProto.FLOAT}
    assert set(feeds_of(network.proto)) == set(network.inputs)


def test_a_part_may_resize_to_the_size_of_another_tensor():
    """ONNX Runtime takes the shape of a tensor of unknown rank for empty."""
    b = Builder()
    small, guide = b.node("Relu", "x", output="small"), b.node("Neg", "z", output="guide")
    ends = [b.constant(np.array([n])) for n in (0, 2, 4)]
    shapes = [b.node("Shape", small), b.node("Shape", guide)]
    sizes = b.node(
        "Concat", b.node("Slice", shapes[0], *ends[:2]), b.node("Slice", shapes[1], *ends[1:]), axis=0
    )
    b.node("Resize", small, "", "", sizes, mode="nearest", output="y")
    open_batch = ["N", *IMAGE[1:]]
    network = Network(b.model({"x": open_batch, "z": ["N", 4, 16, 16]}, {"y": None}).SerializeToString())
    part = Session(network.extract(["guide"], ["y"], {}), SETTINGS)
    values = {"x": np.ones(IMAGE, np.float32), "guide": np.ones((1, 4, 16, 16), np.float32)}
    assert part.run(values)[0].shape == (1, 4, 16, 16)
