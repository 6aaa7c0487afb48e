"""Say where 8 bits are too few for the shares of an attention, and what to try.

A row of shares sums to 1, so in a long one most are about as large as a step of 1/255.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple

import onnx

from distq.graph.names import Names
from distq.graph.scores import is_share
from distq.graph.variants import FloatPart, put_back
from distq.run.context import Run
from distq.search.metrics import ImageStatistics, decibels, nmse
from distq.stages.compare import compare_models, statistics
from distq.stages.form import Form

IMAGES = 2
"""Images that show a loss of decibels."""

LEAST_LOSS_DB = 2.0
"""What is worth 16 bits, which many kernels do not have."""

CLOSE_DB = 30.0
"""From that many decibels on answers are float's, and nothing is looked into."""


def lost_to_shares(run: Run, form: Form, found: ImageStatistics) -> Iterator[str]:
    """A line where the network is much closer to float with its attentions' shares in float.

    Args:
        run: gives workers and the tuning samples.
        form: the quantized network.
        found: its sums on the tuning samples.
    """
    first = ImageStatistics(*(array[:IMAGES] for array in astuple(found)))
    whole = nmse(first)
    plan = form.plan
    values = {value.name: value for node in form.model.graph for value in node.outputs}
    shares = [
        q
        for q in plan.quantizers
        if q.bits == 8 and any(is_share(values[tensor]) for tensor in q.tensors if tensor in values)
    ]
    if not shares or 16 not in plan.target.activation_bits or decibels(whole) >= CLOSE_DB:
        return
    indices = run.readable(run.selection.tuning)[:IMAGES]
    blob = run.share_reported(_without(form, {tensor for q in shares for tensor in q.tensors}))
    results = compare_models(run, "shares of attentions", [blob], run.data, indices)
    without = nmse(statistics(results, 0))
    if whole <= without or without == 0:
        return
    lost = 10 * math.log10(whole / without)
    if lost >= LEAST_LOSS_DB:
        keeps = "leave out --quantize-shares, or " if run.options.quantize_shares else ""
        yield (
            f"the {len(shares)} tensors behind a Softmax lose {lost:.1f} dB with 8 bits: "
            f"{keeps}--int16-budget {len(shares)} gives that many tensors 16 bits"
        )


def _without(form: Form, tensors: set[str]) -> bytes:
    """The exported network without quantizers of shares, which no Relu was left out in front of."""
    names = Names.free_in(form.model)
    part = FloatPart(tuple(map(names.quantized, sorted(tensors))))
    return put_back(onnx.load_model_from_string(form.exported), onnx.ModelProto(), part)
