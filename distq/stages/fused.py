"""The graph that ONNX Runtime runs for a form, with the tensors that the search and corrections look for.

Most forms keep every name. Where ONNX Runtime took a quantizer out, the first of these that has all is taken:

1. Two quantizers with nothing between them are joined, as ONNX Runtime does it. One would remain on the way
   to the layer, and with different scales the layer would run in float (:func:`with_nearest_weights`).
2. Two quantizers whose scales happen to be equal, the second of which is thus taken out, are fused with
   scales set apart. Numbers are fed, and quantizing again at an equal scale changes no integer.
3. The exported graph itself: all names are there, and ONNX Runtime fuses each part when it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from distq.graph.heads import with_places
from distq.graph.holders import held_before, integer_tensors, missing
from distq.graph.names import Constants, Names
from distq.graph.placement import plan_again
from distq.graph.rows import encodings, full_table, given_table
from distq.graph.state import State, initial_state, small_constants
from distq.graph.subgraph import Network
from distq.run.context import Run
from distq.stages.form import Form

MOST_ROUNDS = 4
"""Of joining; in each, every quantizer that is gone is joined to the one before it."""


@dataclass(frozen=True)
class Fused:
    """A graph to run and cut.

    Attributes:
        graph: ONNX bytes.
        integers: the integer tensor that holds each quantized tensor.
        constants: scales, zero points and biases in place of those in the graph; empty where these are right.
    """

    graph: bytes
    integers: Mapping[str, str]
    constants: Constants


def fused(
    run: Run, form: Form, *, parts: bool = False, apart: bool = False, own_outputs: bool = False
) -> Fused:
    """The graph of a form.

    Args:
        run: gives the device.
        form: with numbers.
        parts: its outputs are the parts that choices are measured by.
        apart: set scales apart in any case.
        own_outputs: keep the outputs of the form, which is a part of the run's network.
    """
    names, places = Names.free_in(form.model), run.places if parts else run.reported
    if own_outputs:
        places = ()
    exported = with_places(form.exported, places)
    if not apart:
        graph = run.fuse(exported)
        held = integer_tensors(Network(graph), form.model, form.plan, names)
        if held is not None:
            return Fused(graph, held, {})
    constants = small_constants(form.plan, form.state, names)
    graph = run.fuse(with_places(replace(form, state=set_apart(form.state)).exported, places))
    held = integer_tensors(Network(graph), form.model, form.plan, names)
    if held is not None:
        return Fused(graph, held, constants)
    return Fused(exported, {tensor: names.quantized(tensor) for tensor in form.plan.by_tensor}, {})


def with_nearest_weights(run: Run, form: Form) -> Form:
    """The form with weights rounded to nearest and biases as they are, before any correction.

    Quantizers are joined that have nothing between them in the graph that is run. The later of two gives the
    threshold: what stood between them keeps its values, or ends them where the later quantizer ends them too.
    """
    for _ in range(MOST_ROUNDS):
        plan, names = form.plan, Names.free_in(form.model)
        form = replace(form, state=initial_state(form.model, plan, encodings(plan, form.table)))
        absent = missing(Network(run.fuse(form.exported)), plan, names)
        before, owners = held_before(form.model, plan, absent), plan.by_tensor
        pairs = {(a, owners[b].name): None for b, a in before.items() if owners[a] != owners[b]}
        if not pairs:
            break
        floats = form.choice.float_layers
        again = plan_again(plan, form.model, int16=plan.wide, float_layers=floats, joined=pairs)
        form = replace(form, plan=again, table=given_table(again, full_table(plan, form.table)))
    return form


def set_apart(state: State) -> State:
    """The same numbers with every scale a little different, for fusing only; the real ones are fed."""
    moved = {
        name: encoding.with_steps_times(1 + i * 2.0**-12)
        for i, (name, encoding) in enumerate(state.encodings.items())
    }
    return replace(state, encodings=moved)
