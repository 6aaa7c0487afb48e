"""Steps that are done only where ``--time`` leaves time for them, and what the end of a run needs of it."""

from __future__ import annotations

from collections.abc import Callable

from distq.replica.evaluate import Evaluate
from distq.replica.float32 import LayerMeans, Observe
from distq.replica.speed import FEW_ROUNDS
from distq.run.context import Run
from distq.run.time_limit import TimeIsUp
from distq.stages.confirm import unseen
from distq.stages.form import Form

COMPARED = 3
"""Networks that the report runs a sample through: float, calibrated, and tuned."""

STAND_IN = 0.6
"""Part of a float pass that a forward of the report takes: one decoding is for all networks."""

CLOSING = 1.0
"""Seconds in which a command ends its workers and itself."""

FUSED = 4
"""Times that the end has ONNX Runtime fuse the network."""

ROOM = 1.15
"""Times what was measured that the end is given."""

_TURN_SECONDS = 0.2
"""Of a turn of one model at least, where the report says how fast both are."""


def in_time(run: Run, what: str, step: Callable[[], Form], otherwise: Form, seconds: float = 0.0) -> Form:
    """What a step makes of the network; where there is no time for it, what the network was before.

    Args:
        run: whose time it is.
        what: the step, for a person.
        step: does it.
        otherwise: the form without it.
        seconds: that it takes, where that is known: if there is not so much time, it does not begin.

    Raises:
        TimeIsUp: there is no time, and whoever called this set the limit.
    """
    if run.time.limited:
        return step()
    try:
        with run.time.limit(seconds):
            return step()
    except TimeIsUp:
        run.time.leave_out(what)
        run.reporter.line(f"{what}: left out, as there is no time for it")
        return otherwise


def keep_back(run: Run) -> None:
    """Keep back the time that the report and what confirms a result need, as measured so far."""
    speed, part = run.pace.of(Evaluate), 1.0
    if not speed.each:
        speed, part = run.pace.of(LayerMeans, Observe), STAND_IN
    parts = [len(run.selection.tuning), len(run.selection.holdout), len(unseen(run))]
    compared = part * sum(speed.seconds(COMPARED * samples) for samples in parts if samples)
    turn = max(_TURN_SECONDS, speed.each * run.executor.workers)
    timed = 2 * (FEW_ROUNDS + 1) * turn if run.options.report else 0.0
    run.time.kept_back = ROOM * (compared + FUSED * run.pace.fuse + timed + run.pace.answer) + CLOSING
