"""``--float-if-faster measured``: layers that a worker times faster in float stay float from the start."""

from __future__ import annotations

from dataclasses import replace

from distq.graph.placement import plan_again
from distq.graph.rows import encodings
from distq.graph.state import initial_state
from distq.run.context import Run
from distq.stages.float_islands import Island, faster_in_float
from distq.stages.form import Form
from distq.stages.observe import observe
from distq.stages.thresholds import with_thresholds


def with_fastest(run: Run, form: Form) -> Form:
    """The form with what is faster in float put there, where the user wants it measured.

    Args:
        run: gives workers and a sample.
        form: with thresholds; weights and biases are still to be made.
    """
    if run.options.float_if_faster != "measured":
        return form
    state = initial_state(form.model, form.plan, encodings(form.plan, form.table))
    island = faster_in_float(run, replace(form, state=state))
    if island is None:
        run.reporter.line("no layer is faster in float on this machine")
        return form
    run.reporter.line(island.text)
    return _with_island(run, form, island)


def _with_island(run: Run, form: Form, island: Island) -> Form:
    settings = form.plan.settings
    why = f"faster in float on this machine: {island.gain}"
    floats = tuple((layer.node, why) for layer in form.plan.layers if layer.name in island.layers)
    changed = replace(settings, floats=(*settings.floats, *floats))
    plan = plan_again(replace(form.plan, settings=changed), form.model)
    found = replace(form, plan=plan)
    if run.options.table is None:
        missing = [q.name for q in plan.in_table if q.name not in form.distributions]
        known = {**form.distributions, **(observe(run, found, missing) if missing else {})}
        found = replace(found, distributions={q.name: known[q.name] for q in plan.known(known)})
    return with_thresholds(run, found)
