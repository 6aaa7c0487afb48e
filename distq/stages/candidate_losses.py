"""What candidates of ``distq auto`` lose on samples, by the judge of its goal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distq.replica.measured import Measuring, records_of
from distq.replica.worker import Arrays, Blob
from distq.run.context import Run
from distq.search.judges import Floats, Judge, Seen
from distq.stages.compare import compare_models, compare_one, statistics
from distq.stages.steps import Steps


class CandidateLosses:
    """Runs networks on samples, and tells what they lose there beside the float network."""

    def __init__(self, run: Run, judge: Judge, measuring: Measuring) -> None:
        """Nothing is run yet.

        Args:
            run: gives workers and samples.
            judge: tells what is lost.
            measuring: the measure that the judge goes by, where it goes by one.
        """
        self._run = run
        self._judge = judge
        self._measuring = measuring
        self._power: Floats = np.zeros(0)

    def run_one(self, model: Blob, indices: Sequence[int], place: tuple[int, int]) -> Steps[Seen]:
        """What one network does on each of the samples.

        Args:
            model: the network.
            indices: of the samples.
            place: among how many networks it is which.
        """
        found = yield from compare_one(self._run, model, indices, place, self._measuring)
        self._run.reporter.advance(len(indices))
        return self._seen(found, 1)[0]

    def run_each(self, models: Sequence[Blob], indices: Sequence[int]) -> list[Seen]:
        """What each network does on each of the samples."""
        found = compare_models(
            self._run,
            "measure candidates",
            models,
            self._run.data,
            indices,
            again=True,
            measuring=self._measuring,
        )
        return self._seen(found, len(models))

    def loss(self, seen: Seen) -> float:
        """What is lost on all samples together."""
        return self._judge.loss(seen, self._power)

    def losses(self, seen: Seen) -> Floats | None:
        """What is lost on each of them; None where that cannot be told apart."""
        return self._judge.losses(seen, self._power)

    def error(self, seen: Seen) -> float:
        """The error of the outputs, whatever the judge goes by."""
        return self._judge.error(seen, self._power)

    def _seen(self, found: Sequence[Arrays], models: int) -> list[Seen]:
        """The same of so many networks by the units' results."""
        if not self._power.size:  # of the first network, which is measured on all samples
            power = statistics(found, 0).power
            self._power = np.asarray(power.sum(axis=0) / len(power), np.float64)
        error, *hits = (np.concatenate([r[n] for r in found], axis=1) for n in ("error", "top1", "top5"))
        first, fifth = (one.astype(np.float64) for one in hits)
        return [
            Seen(
                np.asarray(error[i], np.float64),
                {1: first[i], 5: fifth[i]},
                {1: first[-1], 5: fifth[-1]},
                records_of(found, 0, i),
                records_of(found, 0, models),
            )
            for i in range(models)
        ]
