"""Outputs that hold indices are compared by what these were chosen from."""

import numpy as np
import pytest
from networks import Builder
from onnx import TensorProto

from distq.graph.compared import compared_tensors, remarks
from distq.graph.heads import Place, parts, reported
from distq.graph.placement import make_plan
from distq.targets.ort import ORT

IMAGE = [1, 4, 8, 8]


def classifier(load, outputs, *, scored="scores", data="x"):
    """A convolution with these outputs of: scores, label, the two best and their values."""
    b = Builder()
    b.node("Flatten", b.node("Relu", b.conv(data, (4, 6))), output="scores")
    best = b.node("ArgMax", scored, axis=1, name="choose")
    b.node("Cast", b.node("Squeeze", best), output="label", to=TensorProto.FLOAT)
    b.node("TopK", scored, b.constant(np.array([2])), output="value", outputs=2, name="rank")
    return load(b.model({"x": IMAGE}, outputs)).model


@pytest.mark.parametrize(
    ("outputs", "compared", "places"),
    [
        (["label"], ["scores"], [Place("choose", 0)]),
        (["scores", "label"], ["scores"], [Place(None, 0)]),
        (["label", "scores"], ["scores"], [Place(None, 1)]),
        (["value", "value_1", "label"], ["value", "scores"], [Place(None, 0), Place("rank", 0)]),
    ],
)
def test_a_chosen_index_gives_way_to_the_scores_once(load, outputs, compared, places):
    model = classifier(load, outputs)
    assert compared_tensors(model) == compared
    assert reported(model) == parts(model, make_plan(model, ORT, "auto")) == tuple(places)
    named = ", ".join(name for name in outputs if name in {"label", "value_1"})
    assert list(remarks(model, indices=True)) == [
        f"indices in {named}: compared is what they are chosen from"
    ]


def test_a_measure_of_the_user_sees_the_indices(load):
    model = classifier(load, ["scores", "label"])
    assert compared_tensors(model, indices=False) == ["scores", "label"]
    assert reported(model, indices=False) == ()
    assert not list(remarks(model, indices=False))


@pytest.mark.parametrize("outputs", [["scores"], ["value"]])
def test_values_are_compared_themselves(load, outputs):
    assert reported(classifier(load, outputs)) == ()


def test_an_index_into_what_the_network_is_fed_stays(load):
    model = classifier(load, ["scores", "label"], scored="x")
    assert compared_tensors(model) == ["scores", "label"]


@pytest.mark.parametrize("drawn", ["RandomNormalLike", "Bernoulli"])
def test_outputs_that_differ_from_run_to_run_are_named(load, drawn):
    b = Builder()
    b.node("Relu", b.conv("x", (4, 6)), output="mean")
    b.node("Add", "mean", b.node(drawn, b.node("Sigmoid", "mean")), output="sample")
    model = load(b.model({"x": IMAGE}, ["mean", "sample"], 15)).model
    (said,) = remarks(model, indices=True)
    assert said.startswith("sample depend on random numbers in the model")
