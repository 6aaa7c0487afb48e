"""``distq auto``: the cheapest network that meets a goal, found and explained."""

from __future__ import annotations

import math
from dataclasses import replace

from distq.config import AutoOptions
from distq.data.dataset import SourceDataset
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.replica.measured import NOTHING, Measuring
from distq.reports.runs import with_report
from distq.run.context import Run
from distq.run.given_data import require_data
from distq.run.open import Lender, as_begun, interruptible, open_run
from distq.run.results import RunResult
from distq.run.time_limit import Clock
from distq.search.goal import OF_A_MEASURE, OF_SHARES, Goal
from distq.search.judges import IN_POINTS, NO_LABELS, Figure, RightAnswers
from distq.stages.auto_report import report_of, write_answer
from distq.stages.candidates import Maker
from distq.stages.cheapest import explore
from distq.stages.finish import finish
from distq.stages.form import Form
from distq.stages.given_candidates import given_candidates, require_names, run_given
from distq.stages.in_time import keep_back
from distq.stages.search import chosen_quantizers
from distq.stages.trial import Trial
from distq.stages.trials import Trials


def auto(
    options: AutoOptions,
    reporter: Reporter,
    lender: Lender | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Find the cheapest network that meets the goal on the tuning samples.

    Where none does, the result has the closest, and ``result.auto.reached`` is false.

    Args:
        options: of the command.
        reporter: told of progress.
        lender: whose workers it takes; None: its own.
        clock: of the command, whose ``--time`` it tells; None: it begins now.

    Raises:
        InputError: what was given cannot be used; nothing was written.
        ExecutionError: it failed while running; finished work is in the journal.
        InterruptedRun: Ctrl-C.
    """
    require_data(options.data, options.model)
    _require_free_choice(options)
    by_hand = given_candidates(options)
    options = as_begun(_with_measure(options))
    with interruptible(), open_run(options, "auto", reporter, lender, clock) as run:
        if isinstance(run, RunResult):
            return with_report(run, wanted=options.report)
        # wrong names and missing labels are found before any work
        chosen_quantizers(options, Form.given(run))
        require_names(run, options, by_hand)
        # what is to be reached, and the network in INT8, from which all others differ
        measuring = _judging(run, options)
        goal = Goal.parse(options.goal, *measuring.measures)
        _require_labels(run, goal)
        began = run.time.elapsed
        maker = Maker(run, options)
        run.pace.answer = run.time.elapsed - began
        trials = Trials(run, goal, maker, options.cost, measuring=measuring)
        keep_back(run)
        # others are made and measured, those first that promise most
        given = run_given(run, trials, by_hand, options.time) if by_hand else None
        found = given or explore(run, options, goal, trials)
        _warn_of_few_samples(run, goal, options.goal, found.answer)
        # what was found, why, and how to make it again
        report = report_of(goal, options.goal, options.cost, trials, found)
        write_answer(run, found.answer, report)
        result = finish(run, maker.base.form, found.answer.made.form, report)
    return with_report(result, wanted=options.report)


def _require_free_choice(options: AutoOptions) -> None:
    """Refuse options that say what is to be chosen.

    Raises:
        UsageError: naming one.
    """
    if options.int16_budget or options.float_budget:
        raise UsageError("--int16-budget and --float-budget are what auto chooses: leave them out")
    if options.table is not None:
        raise UsageError("--table fixes the thresholds that auto chooses: leave it out")


def _with_measure(options: AutoOptions) -> AutoOptions:
    """The options with the measure that the goal is of, where it is one's figure.

    Raises:
        UsageError: the two do not go together, or the goal is no loss.
    """
    name, _, wanted = options.goal.partition(":")
    reading = float(wanted)
    if name == "sqnr" and reading <= 0:
        raise UsageError(
            f"--goal {options.goal} is met by noise: give the decibels to reach, such as sqnr:30"
        )
    if name in {"top1", "top5", *IN_POINTS} and reading > 0:
        raise UsageError(
            f"--goal {options.goal} asks for more than float has: {name}:-{reading:g} allows that loss"
        )
    if name in OF_SHARES and not 0 < reading <= 1:
        raise UsageError(f"--goal {options.goal}: give the share that is to stay, such as {name}:0.95")
    if name == "score" and not options.measure:
        raise UsageError("--goal score is of a measure of yours: give --measure FILE.py")
    named = {str(one).partition(":")[0] for one in options.measure}
    have = OF_A_MEASURE.get(name, ())
    if have and named.isdisjoint(have):
        return options.model_copy(update={"measure": (*options.measure, have[0])})
    return options


def _require_labels(run: Run, goal: Goal) -> None:
    """Refuse a goal in right answers on samples without any.

    Raises:
        UsageError: no tuning sample has a label.
    """
    if not isinstance(goal.judge, RightAnswers):
        return
    data = run.data.open()
    if isinstance(data, SourceDataset) and all(data.label(index) is None for index in run.tuning):
        raise UsageError(NO_LABELS.format(goal.judge.count))


def _warn_of_few_samples(run: Run, goal: Goal, text: str, answer: Trial) -> None:
    """Say where a goal in answers or a figure is met on the samples, and may well be missed on others."""
    judge = goal.judge
    match judge:
        case RightAnswers() if answer.losses is not None:
            most = judge.most(answer.losses)
        case Figure() if answer.seen is not None:
            most = judge.most(answer.seen)
        case _:
            return
    if answer.met and not math.isnan(most) and not goal.met(most):
        unit = " points" if judge.name.endswith("points") else ""
        run.warn(
            f"--goal {text} is met on {answer.samples} samples, but so few cannot tell it from "
            f"{judge.reading(most):.2g}{unit}: give more --samples and --tune-samples, or a goal in decibels"
        )


def _judging(run: Run, options: AutoOptions) -> Measuring:
    """What networks are measured by beside similarity and labels: the measure of the goal alone."""
    name = options.goal.partition(":")[0]
    if name not in OF_A_MEASURE:
        return NOTHING
    wanted = [one for one in run.measuring.measures if name == "score" or name in one.names]
    return replace(run.measuring, measures=tuple(wanted[:1]))
