"""Candidates of ``distq auto``, measured on the tuning samples; what fails on the first is given up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from distq.config import CostName
from distq.engine.progress import folded
from distq.graph.network_cost import network_cost
from distq.replica.measured import Measuring
from distq.run.auto_report import short_name
from distq.run.context import Run
from distq.run.time_limit import TimeIsUp
from distq.search.expectation import Expectation
from distq.search.goal import Goal
from distq.search.judges import Floats, Seen
from distq.stages.candidate_losses import CandidateLosses
from distq.stages.candidates import Candidate, Made, Maker
from distq.stages.compare import MOST_APART
from distq.stages.keep import keep
from distq.stages.latency import seconds_in_turns
from distq.stages.steps import Steps, at_once, run_side_by_side
from distq.stages.trial import Trial, ahead, as_good

FIRST_SAMPLES = 32
"""Samples that every candidate is measured on before the others are."""


class Trials:
    """Makes and measures candidates, each once.

    Attributes:
        base: the network in INT8, as ``calibrate`` exports it.
        every: all that were measured, in their order.
    """

    def __init__(
        self,
        run: Run,
        goal: Goal,
        maker: Maker,
        cost: CostName,
        *,
        measuring: Measuring,
    ) -> None:
        """Measure the network that all begin with.

        Args:
            run: gives workers and samples.
            goal: that is to be met.
            maker: of candidates.
            cost: what is to be small.
            measuring: the measure that the goal is of, where it is of one.
        """
        self._run = run
        self._goal = goal
        self._maker = maker
        self._cost = cost
        self._losses = CandidateLosses(run, goal.judge, measuring)
        self._seen_of: dict[str, Seen] = {}
        self.every: list[Trial] = []
        (self.base,) = self._measured([at_once(maker.base)])

    def of(self, candidates: Sequence[Candidate], rival: Trial | None = None) -> list[Trial]:
        """Make and measure candidates.

        Args:
            candidates: to be tried.
            rival: a network that they are to be as good as; None: they are to meet the goal.

        Raises:
            TimeIsUp: there is no time for them.
        """
        self._run.time.require()
        known = {trial.name: trial for trial in self.every}
        new = {candidate.name: candidate for candidate in candidates if candidate.name not in known}
        layers, making = self._maker.making([*new.values()])
        known |= {trial.name: trial for trial in self._measured(making, rival, layers)}
        return [known[candidate.name] for candidate in candidates]

    def evened(self) -> Trial | None:
        """The first network with its channels evened out; None where ``tune`` leaves them.

        Raises:
            TimeIsUp: there is no time for it.
        """
        self._run.time.require()
        made = self._maker.evened()
        return None if made is None else self._measured([at_once(made)], self.base)[0]

    def price(self, trial: Trial) -> tuple[float, int, int]:
        """What is to be small; of equals what has fewer float layers, then fewer with 16 bits."""
        cost = trial.cost
        first = cost.macs if self._cost != "layers" else float(cost.layers)
        if self._cost == "latency":
            first = math.inf if trial.latency is None else trial.latency
        return first, len(cost.float_layers), len(cost.wide_layers)

    def answer(self) -> Trial:
        """The cheapest that meets the goal, else of the closest to it; made as its job file makes it.

        One whose own search would find no time to run again is none; the first of all is there in any case.
        """
        while (best := self.cheapest or self.cheapest_of_closest()).made.shared:
            try:
                layers, making = self._maker.making([best.made.candidate], share=False)
                (anew,) = self._measured(making, layers=layers)
            except TimeIsUp:
                self.every = [trial for trial in self.every if trial is not best]
            else:
                self.every = [anew if trial is best else trial for trial in self.every if trial is not anew]
        return best

    def allowed_error(self) -> float | None:
        """The error of the outputs with which the goal is probably met on other samples; None: not known.

        Of a figure the networks measured tell it, see :class:`~distq.search.expectation.Expectation`.
        """
        lost = self._goal.judge.lost(self._goal.limit)
        return self._goal.limit if self._goal.by_error else self._expectation().allowed(lost or 0.0)

    def does(self, trial: Trial) -> bool:
        """Whether a network meets the goal, and so does what those with about its error lose together.

        On few samples some networks lose less by luck; of many that were tried the cheapest would be such.
        """
        if not trial.met or self._goal.by_error:
            return trial.met
        allowed = self.allowed_error()
        return allowed is None or trial.error <= allowed

    def closer(self, trial: Trial, other: Trial) -> bool:
        """Whether a network is closer to float than another: by the error, where that tells what is lost."""
        if self.allowed_error() is None:
            return trial.loss < other.loss
        return trial.error < other.error

    def _expectation(self) -> Expectation:
        whole = [(t, self._goal.judge.lost(t.loss)) for t in self.every if not t.dropped and t.error > 0]
        known = [(t.error, lost) for t, lost in whole if lost is not None]
        return Expectation([error for error, _ in known], [lost for _, lost in known])

    @property
    def cheapest(self) -> Trial | None:
        """Of all that meet the goal the cheapest, and of equals the closest; None: none does."""
        met = [trial for trial in self.every if trial.met]
        met = [trial for trial in met if self.does(trial)] or met
        return min(met, key=lambda trial: (self.price(trial), trial.loss)) if met else None

    def cheapest_of_closest(self) -> Trial:
        """Of the one that loses least and those that the paired test finds equal to it the cheapest."""
        best = self.closest()
        equal = [trial for trial in self.every if not trial.dropped and as_good(trial, best)]
        return min(equal, key=lambda trial: (self.price(trial), trial.loss))

    def closest(self) -> Trial:
        """The one that loses least on all samples; what was given up may turn out to be."""
        while True:
            best = self._closest_of_whole()
            doubtful = [t for t in self.every if t.dropped and (t is best or ahead(t, best))]
            if not doubtful:
                return best
            done = dict(zip(map(id, doubtful), self._completed(doubtful), strict=True))
            self.every = [done.get(id(trial), trial) for trial in self.every]

    def _closest_of_whole(self) -> Trial:
        """Of those that were measured on all samples the one that loses least; of all where none was."""
        whole = [trial for trial in self.every if not trial.dropped] or self.every
        return min(whole, key=lambda trial: (trial.loss, self.price(trial)))

    def _measured(
        self, making: Sequence[Steps[Made]], rival: Trial | None = None, layers: int = 0
    ) -> list[Trial]:
        """Trials of the networks that procedures make: on the first samples all, on the others what may do.

        Each is measured as soon as it is made. So many layers are corrected for them.
        """
        if not making:
            return []
        run, samples = self._run, self._run.selection.tuning
        first = samples[:FIRST_SAMPLES] if self.every else samples
        rest = samples[len(first) :]
        apart = len(rest) <= MOST_APART
        beside = None if rival is None else rival.losses
        steps = [
            self._tried(one, (i, len(making)), (first, rest), beside, apart=apart)
            for i, one in enumerate(making)
        ]
        run.reporter.start("make and measure", layers + len(steps) * len(samples), "steps")
        both = run_side_by_side(run, steps)
        run.reporter.finish()
        alive = [i for i, (_, _, hopeful) in enumerate(both) if hopeful]
        seen = [own for _, own, _ in both]
        if alive and not apart:
            blobs = [run.share_reported(both[i][0].form.exported) for i in alive]
            for i, more in zip(alive, self._losses.run_each(blobs, rest), strict=True):
                seen[i] = seen[i].and_then(more)
        found = []
        for (one, _, hopeful), own in zip(both, seen, strict=True):
            found.append(self._trial(one, own, dropped=not hopeful))
            if not hopeful:
                self._seen_of[one.candidate.name] = own
        self.every += found
        best = self.cheapest or self._closest_of_whole()
        keep(run, best.name, best.made.form)
        return found

    def _tried(
        self,
        making: Steps[Made],
        place: tuple[int, int],
        samples: tuple[Sequence[int], Sequence[int]],
        rival: Floats | None,
        *,
        apart: bool,
    ) -> Steps[tuple[Made, Seen, bool]]:
        """Make a network and measure it on the first samples.

        Args:
            making: comes to it.
            place: among how many networks it is which.
            samples: the first and the rest, which may be none.
            rival: losses of the network that it is to be as good as.
            apart: measure it on the rest as well where it may still do.

        Returns:
            The network, what was seen, and whether it may still do.
        """
        made = yield from making
        model = self._run.share_reported(made.form.exported)
        first, rest = samples
        seen = yield from self._losses.run_one(model, first, place)
        hopeful = not rest or not self._goal.hopeless(self._losses.losses(seen), rival)
        if hopeful and rest and apart:
            seen = seen.and_then((yield from self._losses.run_one(model, rest, place)))
        return made, seen, hopeful

    def _completed(self, dropped: Sequence[Trial]) -> list[Trial]:
        """What was given up, measured on the other samples as well."""
        run = self._run
        blobs = [run.share_reported(trial.made.form.exported) for trial in dropped]
        found = self._losses.run_each(blobs, run.selection.tuning[FIRST_SAMPLES:])
        return [
            self._trial(trial.made, self._seen_of[trial.name].and_then(more), dropped=False)
            for trial, more in zip(dropped, found, strict=True)
        ]

    def _trial(self, made: Made, seen: Seen, *, dropped: bool) -> Trial:
        goal, samples = self._goal, len(seen.error)
        loss = self._losses.loss(seen)
        cost = network_cost(made.form.model, made.form.plan)
        met = not dropped and goal.met(loss)
        latency = self._latency(made) if self._cost == "latency" and not dropped else None
        losses = self._losses.losses(seen)
        kept = seen if met and losses is None else None
        error = self._losses.error(seen)
        trial = Trial(made, cost, loss, samples, dropped, met, losses, kept, latency, error)
        says = "meets the goal" if trial.met else "misses the goal"
        if dropped:
            says += f" by far on {samples} samples"
        reading = f"{goal.judge.reading(loss):.2f} {goal.judge.name}"
        work = f"{cost.layers} layers, {cost.macs:.1%} of multiplications not in INT8"
        if latency is not None:
            work += f", {latency:.3g} ms"
        probably = self._probably(trial)
        for line in folded(f"{short_name(trial.name)}: {reading}{probably}, {work}: {says}", "  "):
            self._run.reporter.line(line)
        if trial.name not in {note["name"] for note in self._run.journal.notes("trial")}:
            self._run.journal.note("trial", name=trial.name, reading=f"{reading}, {says}")
        return trial

    def _probably(self, trial: Trial) -> str:
        """What networks with about as much error have together, for a person."""
        judge = self._goal.judge
        lost = judge.lost(trial.loss)
        others = self._expectation()
        if lost is None or not others.errors or not trial.error > 0:
            return ""
        expected = Expectation([*others.errors, trial.error], [*others.losses, lost]).loss(trial.error)
        return f" ({judge.reading(trial.loss - lost + expected):.2f} as others tell)"

    def _latency(self, made: Made) -> float:
        """Milliseconds of a forward on a worker, in turns with the first network, whatever else it does."""
        run, first = self._run, self._maker.base
        models = [run.executor.share(one.form.exported) for one in (first, made)[: 1 if made is first else 2]]
        seconds = seconds_in_turns(run, models)
        if made is first:
            return float(1000 * np.median(seconds[0]))
        return (self.base.latency or math.nan) * float(np.median(seconds[1] / seconds[0]))
