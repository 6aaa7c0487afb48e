"""The network that distq makes of a file is compared with the file."""

import numpy as np
import pytest
from compared_networks import SPECS, network
from networks import SETTINGS

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
