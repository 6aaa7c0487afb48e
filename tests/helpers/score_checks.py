"""Whether scores of a search are the errors of the exported model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from networks import SETTINGS

from distq.graph.heads import with_places
from distq.graph.rows import with_threshold
from distq.replica.session import Session
from distq.search.metrics import compare, per_image_diff
from distq.stages.scoring import NetworkScorer, float_power

FACTORS = (0.83, 0.4)
NAMES = [
    "many branches",
    "detector",
    "four outputs",
    "two inputs",
    "symbolic batch",
    "SiLU",
    "Clip(0, 6)",
    "MaxPool",
    "AveragePool",
    "Resize, linear",
    "Add",
    "Mul",
    "Concat of alike",
    "Concat of unlike",
    "Gemm, transposed",
    "MatMul of a stack",
    "MatMul of two tensors",
]
"""Networks of the zoo that differ in how scores come about."""


def exported_errors(bench, form):
    """Squared errors (images, parts of outputs) of the exported model, run as a user runs it."""
    exact = bench.exact_outputs()
    model = Session(with_places(form.exported, bench.places), SETTINGS, fused=True)
    pairs = zip(bench.feeds, exact, strict=True)
    return np.concatenate([compare(model.run(feeds), outputs).error for feeds, outputs in pairs])


def with_row(form, row, name):
    """The form with another row of the table, and its encoding."""
    return replace(form, table={**form.table, name: row}, state=form.state.with_encoding(name, row.encoding))


def assert_scores_are_those_of_the_exported_model(bench, form=None, factors=FACTORS):
    """For candidates of every quantizer in turn, each on top of what was decided before."""
    run, form = bench.opened(), form or bench.form
    scorer = NetworkScorer(run, form)
    power = float_power(run, run.float_parts)[0]
    for quantizer in form.plan.quantizers:
        row = form.table[quantizer.name]
        thresholds = [row.threshold * factor for factor in factors]
        found = scorer.score(quantizer, thresholds, form)
        rows = [with_threshold(form.plan, quantizer, row, t, "search") for t in thresholds]
        for threshold, changed in zip(thresholds, rows, strict=True):
            errors = exported_errors(bench, with_row(form, changed, quantizer.name))
            np.testing.assert_array_equal(found[threshold], per_image_diff(errors, power))
        scorer.decide(thresholds[0])
        form = with_row(form, rows[0], quantizer.name)
