"""The network that distq makes of a file is compared with the file."""

import numpy as np
import pytest
from compared_networks import SPECS, network
from networks import SETTINGS
from onnx import helper, numpy_helper

from distq.data.samples import InputSpec
from distq.errors import ExecutionError
from distq.replica.reference import Reference, agree, first_at_fault, random_feeds
from distq.replica.session import Session


def differing(given: bytes, made: bytes, feeds) -> tuple[str, ...]:
    session = Session(given, SETTINGS)
    return Reference(session, feeds, [session.run(f) for f in feeds]).differing(Session(made, SETTINGS))


def test_an_output_that_differs_is_named():
    feeds = random_feeds(SPECS)
    models = [network(op).SerializeToString() for op in ("Relu", "Abs")]
    assert differing(*models, feeds) == ("y",)
    assert differing(models[0], models[0], feeds) == ()
    assert first_at_fault(*models, feeds[0], SETTINGS) == "Relu"


def test_a_network_that_does_not_run_cannot_be_compared():
    model = network("Mystery", domain="mine").SerializeToString()
    with pytest.raises(ExecutionError, match="Mystery"):
        differing(model, model, [])


def test_a_network_that_does_not_repeat_itself_is_not_compared():
    model = network("RandomNormalLike").SerializeToString()
    assert differing(model, model, random_feeds(SPECS)) == ()


def test_rounding_is_no_difference_and_another_value_is():
    one = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert agree(one, one * np.float32(1 + 1e-6))
    assert not agree(one, one * np.float32(1.01))
    assert not agree(one, one.astype(np.float64))
    assert not agree(one, one[None])
    assert agree(np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]))
    assert not agree(np.ones(3), np.array([1.0, np.nan, 1.0]))
    assert agree(np.arange(1000), np.r_[np.arange(999), 0])
    assert not agree(np.arange(10), np.arange(10)[::-1])


def cancelling(*order: int, factor: float = 1.0) -> bytes:
    """A network that adds up large values, which cancel, in one order or another."""
    nodes, last = [], "x0"
    split = helper.make_node("Split", ["x"], [f"x{n}" for n in range(4)], axis=1, num_outputs=4)
    for n in order:
        nodes.append(helper.make_node("Add", [last, f"x{n}"], [f"s{n}"]))
        last = f"s{n}"
    nodes.append(helper.make_node("Mul", [last, "factor"], ["y"]))
    value = numpy_helper.from_array(np.float32(factor), "factor")
    ends = [[helper.make_tensor_value_info(n, 1, shape)] for n, shape in (("x", (1, 4)), ("y", (1, 1)))]
    graph = helper.make_graph([split, *nodes], "g", *ends, [value])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def test_rounding_that_the_model_amplifies_is_no_difference_and_a_wrong_network_is():
    """The sum is about 1e-7 of its terms, so that the order of adding them decides its digits."""
    feeds = [{"x": np.array([[1.0, 0.3, -0.7, -0.6 + n * 3e-7]], np.float32)} for n in (1, 2)]
    small = cancelling(1, 2, 3)
    (one,), (other,) = (Session(net, SETTINGS).run(feeds[0]) for net in (small, cancelling(2, 3, 1)))
    assert not agree(one, other)
    assert differing(small, cancelling(2, 3, 1), feeds) == ()
    assert differing(small, cancelling(1, 2, 3, factor=1000), feeds) == ("y",)
    plain = [{"x": np.array([[1.0, 0.3, 0.7, 0.6]], np.float32)}]
    assert differing(small, cancelling(1, 2, 3, factor=1.01), plain) == ("y",)
    assert differing(small, cancelling(1, 2, 3, factor=1.01), [*feeds, *plain]) == ("y",)


def test_sequences_maps_strings_and_nothing_are_compared_too():
    words, numbers = np.array(["a", "b"], object), np.ones(2, np.float32)
    assert agree([numbers, words], [numbers, words])
    assert not agree([numbers], [numbers, numbers])
    assert not agree(words, words[::-1])
    assert agree([{"a": 1.0}], [{"a": 1.0}])
    assert not agree({"a": 1.0}, {"a": 2.0})
    assert agree(None, None)
    assert not agree(None, numbers)


def test_random_feeds_fit_their_inputs_and_repeat():
    specs = [*SPECS, InputSpec("ids", (2, None), "int64"), InputSpec("mask", (), "bool")]
    first, again = random_feeds(specs), random_feeds(specs)
    assert {n: (a.shape, a.dtype.name) for n, a in first[0].items()} == {
        "x": ((1, 4), "float32"),
        "ids": ((2, 32), "int64"),
        "mask": ((), "bool"),
    }
    assert all(np.array_equal(a[n], b[n]) for a, b in zip(first, again, strict=True) for n in a)
