"""What shared a quantizer is one part of a choice, also where a layer in float sets it apart."""

from __future__ import annotations

from pathlib import Path

from networks import Builder, load

from distq.graph.placement import make_plan
from distq.stages.form import Choice, Form
from distq.stages.gains import Gains, _Books, less
from distq.targets import find_target


def gains_of_a_pool(folder: Path) -> Gains:
    """``a`` and ``p`` share a quantizer unless the layer that writes ``a`` is in float."""
    b = Builder()
    b.conv("x", (3, 4), output="a")
    b.node("MaxPool", "a", output="p", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    b.node("Add", b.conv("a", (4, 4)), b.conv("p", (4, 4)), output="s")
    b.conv("s", (4, 2), output="y")
    model = load(folder, b.model({"x": [1, 3, 8, 8]}, ["y"])).model
    plan = make_plan(model, find_target("ort"), "auto")
    found = Gains.__new__(Gains)  # without the measurements that a run makes
    found._form, found._quantizers = Form(model, plan), {}
    found._books = _Books(
        activations={q.name: 0.1 for q in plan.quantizers},
        weights={},
        near={q.name: frozenset() for q in plan.quantizers},
        price={layer.name: 0.25 for layer in plan.layers},
    )
    return found


def test_less_of_a_choice_is_less_where_a_quantizer_is_set_apart(tmp_path: Path) -> None:
    gains = gains_of_a_pool(tmp_path)
    choice = gains.in_effect(Choice(int16=("a", "s"), float_layers=("a",)))
    assert choice.int16 == ("a", "p", "s")
    parts = gains.least_needed(choice)
    assert {part.int16 for part in parts if part.int16} == {("a", "p"), ("s",)}
    for part in parts:
        fewer = gains.in_effect(less(choice, part))
        assert len(fewer) < len(choice)
