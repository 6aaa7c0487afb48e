"""The cheapest network that meets a goal: what costs nothing first, then as little made better as does.

Estimates give the order (:class:`distq.stages.gains.Gains`). Networks are made and measured where it is
decided: how many of that order it takes, which can go again, and whether searched thresholds do with fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from distq.config import AutoOptions
from distq.engine.progress import folded
from distq.errors import ModelError, UsageError
from distq.replica.lowered import Lowered
from distq.run.context import Run
from distq.run.time_limit import TimeIsUp
from distq.search.goal import Goal
from distq.search.judges import Figure
from distq.search.measures.detection import Detection
from distq.stages.approach import MOST_APPROACHING, Approach
from distq.stages.candidates import Candidate
from distq.stages.float_islands import Island, faster_in_float
from distq.stages.forecast import tell_networks
from distq.stages.form import Choice
from distq.stages.gains import Gains, Item, less
from distq.stages.lessening import MOST_LESSENED, TOGETHER, Lessening
from distq.stages.trial import Trial
from distq.stages.trials import Trials

GROUPS = 4
"""``--conv-groups`` that is tried with one weight scale a layer."""

TUNING_EFFORT = 2
"""From this ``--effort`` on thresholds are searched as well."""

SEARCH_REACH = 2.0
"""A network with so many times the error that is allowed has its thresholds searched first."""

MOST_LEFT = 3
"""Layers of which each is tried as the last in INT8, where the goal is out of reach."""


@dataclass(frozen=True)
class Explored:
    """What the search for the cheapest network learned.

    Attributes:
        answer: the cheapest trial that meets the goal, else the closest to it.
        island: what is faster in float, where latency is the cost.
        without: NMSE estimated for the answer without each part of what it has better.
        obstacles: what stands in the way where none meets it.
        complete: whether it came to its end: ``--time`` was not over, and every network could be made.
        not_made: combinations given by hand that could not be made, and why.
    """

    answer: Trial
    island: Island | None = None
    without: Mapping[Item, float] = field(default_factory=dict)
    obstacles: tuple[str, ...] = ()
    complete: bool = True
    not_made: Mapping[str, str] = field(default_factory=dict)


def explore(run: Run, options: AutoOptions, goal: Goal, trials: Trials) -> Explored:
    """Search until the cheapest is found, nothing is left to try, or the time is up."""
    search = _Search(run, options, goal, trials)
    stopped = ""
    try:
        with run.time.limit():
            search.go()
    except TimeIsUp:
        stopped = f"--time {options.time} was over: --resume with a longer one, or none, goes on"
        run.time.leave_out("networks that were not tried")
    except (UsageError, ModelError) as error:  # of one combination; what was found before it holds
        stopped = f"a network could not be made: {error}"
    if stopped:
        run.warn(f"{stopped}; the best so far is the answer")
    answer = trials.answer()
    without = {} if search.gains is None else search.gains.outputs_without_each(answer.made.candidate.choice)
    obstacles = () if answer.met else (stopped,) if stopped else search.obstacles()
    return Explored(answer, search.island, without, obstacles, complete=not stopped)


class _Search:
    def __init__(self, run: Run, options: AutoOptions, goal: Goal, trials: Trials) -> None:
        self._run = run
        self._options = options
        self._goal = goal
        self._trials = trials
        self._start = trials.base
        self._tunes = options.effort >= TUNING_EFFORT
        self.gains: Gains | None = None
        self.island: Island | None = None

    def go(self) -> None:
        """All steps, from what costs nothing to what costs most; then back."""
        faster = self._options.cost == "latency" and self._faster()
        if faster or self._trials.base.met or self._without_cost():
            return
        self.gains = gains = Gains(self._judging(), self._start.made.form, self._options.cost)
        tell_networks(self._run, len(gains.chain), MOST_APPROACHING, MOST_LESSENED)
        best = Approach(self._trials, gains, self._candidate).found(self._start)
        if best is None:
            self._closest(gains)
            return
        lessening = self._lessening(gains)
        best = lessening.exchanged(lessening.pruned(best))
        if self._tunes:
            self._fewer_by_search(gains, best.made.candidate.choice)

    def _judging(self) -> Run:
        """The run whose choices go by detections where the goal is of these: more than NMSE tells of them."""
        run, judge = self._start.made.run, self._goal.judge
        if not isinstance(judge, Figure) or not isinstance(judge.measure, Detection):
            return run
        return replace(run, diff=Lowered(judge.measure, run.measuring.names)).by_diff()

    def _faster(self) -> bool:
        """Try in float what gains no time on integers; the others begin with that network."""
        base = self._start.made
        self.island = island = faster_in_float(base.run, base.form)
        if island is None:
            return False
        for line in folded(island.text, "  "):
            self._run.reporter.line(line)
        layers = (*self._options.float_layers, *island.layers)
        changes = {**base.candidate.changes, "float_layers": layers}
        (found,) = self._trials.of([Candidate(f"INT8; faster in float: {', '.join(island.layers)}", changes)])
        if not found.dropped and self._trials.closer(found, self._start):
            self._start = found
        return self._trials.does(found)

    def obstacles(self) -> tuple[str, ...]:
        """What stands in the way, in sentences."""
        found = []
        plan = self._start.made.form.plan
        if self.gains is not None:
            choice = self.gains.choice(len(self.gains.chain))
            found.append(f"{len(choice.float_layers)} of {len(plan.layers)} layers in float are not enough")
            if left := self.gains.worst(choice, 3):
                found.append(f"most of what is lost comes from {', '.join(left)}")
        if 16 not in plan.target.activation_bits:
            found.append(f"--target {plan.target.name} has no 16-bit activations")
        fixed = [q.name for q in plan.quantizers if q.fixed]
        if fixed:
            found.append(f"--layer-config fixes {', '.join(fixed[:3])}")
        return tuple(found)

    def _without_cost(self) -> bool:
        """Try what makes no layer slower; the closest of the networks is where the rest begins."""
        base = self._trials.base
        changes = base.made.candidate.changes
        if self._options.per_tensor_weights and self._options.conv_groups is None:
            grouped = Candidate("INT8, convolutions in groups", {**changes, "conv_groups": GROUPS})
            (found,) = self._trials.of([grouped])
            if self._trials.does(found):
                return True
            if not found.dropped and self._trials.closer(found, base):
                self._start = found
        if self._start is base and (evened := self._trials.evened()) is not None:
            if self._trials.does(evened):
                return True
            if not evened.dropped and self._trials.closer(evened, base):
                self._start = evened
        allowed = self._trials.allowed_error()
        if self._tunes and (allowed is None or self._start.error <= SEARCH_REACH * allowed):
            return self._search_thresholds(Choice())
        return False

    def _search_thresholds(self, choice: Choice) -> bool:
        """Try a choice with its thresholds searched."""
        if not self._tunes:
            return False
        candidate = self._candidate(choice)
        (found,) = self._trials.of([replace(candidate, name=f"{candidate.name}, searched", tuned=True)])
        return self._trials.does(found)

    def _lessening(self, gains: Gains) -> Lessening:
        return Lessening(self._trials, gains, self._candidate)

    def _candidate(self, choice: Choice) -> Candidate:
        start = self._start.made.candidate
        parts = []
        if choice.int16:
            parts.append(f"16 bits for {', '.join(choice.int16)}")
        if choice.float_layers:
            parts.append(f"float {', '.join(choice.float_layers)}")
        return replace(start, name="; ".join([start.name, *parts]), choice=choice)

    def _closest(self, gains: Gains) -> None:
        """Where all that can be made better is not enough: what is closest, and as little of it as does."""
        base = self._trials.base
        most = [gains.choice(len(gains.chain)), *gains.all_but_one()[:MOST_LEFT]]
        for start in range(0, len(most), TOGETHER):
            self._trials.of([self._candidate(choice) for choice in most[start : start + TOGETHER]], base)
        closest = self._trials.closest()
        if closest.made.candidate.tuned or closest is base:
            return
        found = self._lessening(gains).pruned(closest, closest)
        self._search_thresholds(found.made.candidate.choice)

    def _fewer_by_search(self, gains: Gains, choice: Choice) -> None:
        """Search the thresholds of networks with one part less each, as long as these meet the goal."""
        while choice:
            choice = gains.in_effect(less(choice, gains.least_needed(choice)[0]))
            if not self._search_thresholds(choice):
                break
