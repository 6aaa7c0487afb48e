"""Say where the INT8 network is too far from float to be of use, or where calibration saw too little."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from distq.errors import plural
from distq.graph.islands import is_depthwise
from distq.graph.network_cost import shares
from distq.graph.ordered import outputs_by_rank
from distq.run.results import Comparison
from distq.search.metrics import ImageStatistics, decibels
from distq.stages.form import Form

LEAST_SQNR_DB = 15
"""Below that many decibels answers are seldom those of float."""

UNLIKE_DB = 10
"""From so many decibels on what calibration saw does not stand for other samples."""

CLOSE_DB = 30
"""From that many decibels on answers are float's."""

FEW = 3
"""Samples up to which a person is told that they are few."""

MOST_OUTPUTS = 4
"""Outputs that are named, the furthest from float first."""


def far_from_float(
    final: Form, found: Comparison, sums: ImageStatistics, names: Sequence[str]
) -> Iterator[str]:
    """What to try where the INT8 model is too far from float to be of use.

    Args:
        final: what is exported.
        found: the figures of the report.
        sums: those of each output that they are made of.
        names: of what is compared, in the order of the sums.
    """
    accuracy = found.after or found.before
    if accuracy.sqnr_db is None or accuracy.sqnr_db >= LEAST_SQNR_DB:
        return
    target = final.plan.target
    tries = ["'distq diff --sensitivity' names what costs most", "tune with --float-budget keeps it in float"]
    tries += filter(None, [_depthwise(final)])
    if 16 in target.activation_bits:
        tries.append("or --int16-budget gives it 16 bits")
    if target.placement == "everywhere":
        tries.append("--target openvino rounds fewer tensors, for runtimes that take it")
    told = f"the INT8 model is {accuracy.sqnr_db:.1f} dB from float, under {LEAST_SQNR_DB}"
    yield f"{told}{_by_output(names, sums)}: {'; '.join(tries)}"
    ranked = outputs_by_rank(final.model)
    if ranked:
        yield (
            f"{' and '.join(ranked)} are in the order of a TopK, and a small error exchanges two of them: "
            "'distq eval --measure' with detection or FILE.py tells what that means"
        )


def _by_output(names: Sequence[str], sums: ImageStatistics) -> str:
    """How far each output is, where there are several."""
    errors, powers = sums.error.sum(axis=0), sums.power.sum(axis=0)
    if len(names) != len(errors) or len(names) < 2:
        return ""
    parts = [decibels(e / p) if p else math.inf for e, p in zip(errors, powers, strict=True)]
    worst = sorted(zip(parts, names, strict=True))[:MOST_OUTPUTS]
    return f" ({', '.join(f'{name} {part:.1f}' for part, name in worst)})"


def few_samples(samples: int) -> Iterator[str]:
    """What to say of so few calibration samples that others are sure to go beyond them."""
    if 0 < samples <= FEW:
        yield f"{plural(samples, 'sample')} calibrated: others may go far beyond; 32 and more are usual"


def unlike_calibration(samples: int, tuning: Comparison | None, holdout: Comparison | None) -> Iterator[str]:
    """What to try where samples that were held out show that the others were too few."""
    seen, unseen = (None if c is None else (c.after or c.before).sqnr_db for c in (tuning, holdout))
    if seen is None or unseen is None or unseen >= CLOSE_DB or not seen - unseen >= UNLIKE_DB:
        return
    yield (
        f"held-out samples are {seen - unseen:.0f} dB further from float than calibration samples: "
        f"they go beyond what {plural(samples, 'sample')} showed; calibrate with more, or with such samples"
    )


def _depthwise(final: Form) -> str:
    """What ``--float-depthwise`` would keep in float, or nothing: one scale is for unlike channels there."""
    quantized = {layer.node for layer in final.plan.layers}
    layers = [n.name or "" for n in final.model.graph if n.name in quantized and is_depthwise(n)]
    parts = shares(final.model)
    part = math.fsum(parts[name] for name in layers)
    which = f"{plural(len(layers), 'layer')} in float, {part:.1%} of the multiplications"
    return f"--float-depthwise keeps {which}" if layers else ""
