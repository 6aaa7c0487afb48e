"""Say where 8 bits are too few for the shares of an attention, and what to try.

A row of shares sums to 1, so in a long one most are about as large as a step of 1/255.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from distq.graph.scores import is_share
from distq.run.context import Run
from distq.stages.form import Form
from distq.stages.sensitivity import Variants

IMAGES = 4
"""Images that show a loss of decibels."""

LEAST_LOSS_DB = 2.0
"""What is worth 16 bits, which many kernels do not have."""


def lost_to_shares(run: Run, form: Form) -> Iterator[str]:
    """A line where the network is much closer to float with its attentions' shares in float.

    Args:
        run: gives workers; samples are its first tuning images.
        form: the quantized network.
    """
    plan = form.plan
    values = {value.name: value for node in form.model.graph for value in node.outputs}
    shares = [
        q
        for q in plan.quantizers
        if q.bits == 8 and any(is_share(values[tensor]) for tensor in q.tensors if tensor in values)
    ]
    if not shares or 16 not in plan.target.activation_bits:
        return
    variants = Variants(run, form, IMAGES)
    parts = [variants.part([]), variants.part([tensor for q in shares for tensor in q.tensors])]
    whole, without = variants.errors("shares of attentions", parts)
    if whole.nmse <= without.nmse or without.nmse == 0:
        return
    lost = 10 * math.log10(whole.nmse / without.nmse)
    if lost >= LEAST_LOSS_DB:
        yield (
            f"the {len(shares)} tensors behind a Softmax lose {lost:.1f} dB with 8 bits: "
            f"--int16-budget {len(shares)} gives that many tensors 16 bits"
        )
