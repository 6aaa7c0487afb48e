"""What a run works with: the model as given, the samples and their roles, workers, journal and counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from distq.config import CalibrateOptions
from distq.data.dataset import DatasetSpec
from distq.data.manifest import Manifest
from distq.data.shards import Selection, shard
from distq.engine.executor import Executor, Unit
from distq.engine.journal import Journal
from distq.engine.portions import LEAST_PORTIONS, TOGETHER, portions_for
from distq.engine.progress import Reporter
from distq.engine.run import Tally, run_batches, run_units
from distq.errors import DataError
from distq.graph.heads import Place, with_places
from distq.graph.load import LoadedModel
from distq.graph.network_cost import images_of_a_unit
from distq.graph.plan import Plan
from distq.memory import peak_rss_mb
from distq.replica.lowered import Lowered
from distq.replica.measured import NOTHING, Measuring
from distq.replica.session import fuse
from distq.replica.worker import Arrays, Blob, WorkerSettings
from distq.run.pace import Pace
from distq.run.results import Cost, FloatLayer, SearchCost
from distq.run.rundir import RunDir
from distq.run.time_limit import TimeIsUp, TimeLimit

AT_A_TIME = 2
"""Units a worker between two looks at the clock, where there is a limit of time."""

Manifests = tuple[Manifest, Manifest]
"""Of the samples that calibrate, and of those held out."""


@dataclass
class Forwards:
    """Forwards run so far, in whole networks; ``search`` is the search's part, None where there was none."""

    fp32_forwards: float = 0.0
    int8_forwards: float = 0.0
    search: SearchCost | None = None


@dataclass
class Run:
    """One run while it goes on.

    What becomes of the network is not here: that is a :class:`distq.stages.form.Form`, which stages pass on.

    Attributes:
        loaded: the model as given.
        plan: where its quantizers stand before anything is chosen.
        float_model: gives the outputs that reports compare with.
        float_parts: gives what choices compare with: the parts of these outputs.
        manifests: of the samples that calibrate and those held out, as they were when the run began.
        places: of the parts; empty where the outputs themselves are compared.
        measuring: what reports measure beside the similarity to float.
        diff: what ``--diff`` names; None: the NMSE.
        lowered: what choices go by now; None: the NMSE.
        reported: places that reports compare in place of outputs whose shape depends on the data; else empty.
        counted: keys of the units whose forwards are in the cost.
        alone: whether its workers are its own, and not lent by a sweep or a cascade.
        skipped: samples that could not be decoded, by source and index.
        time: how long it has been going on, and how long it may.
        pace: how fast its workers are.
    """

    options: CalibrateOptions
    reporter: Reporter
    rundir: RunDir
    loaded: LoadedModel
    plan: Plan
    data: DatasetSpec
    selection: Selection
    holdout_data: DatasetSpec
    journal: Journal
    executor: Executor
    float_model: Blob
    float_parts: Blob
    manifests: Manifests
    places: tuple[Place, ...] = ()
    reported: tuple[Place, ...] = ()
    measuring: Measuring = NOTHING
    diff: Lowered | None = None
    lowered: Lowered | None = None
    alone: bool = True
    tally: Tally = field(default_factory=Tally)
    cost_so_far: Forwards = field(default_factory=Forwards)
    warnings: list[str] = field(default_factory=list)
    float_layers: list[FloatLayer] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    skipped: set[tuple[str, int]] = field(default_factory=set)
    time: TimeLimit = field(default_factory=TimeLimit)
    pace: Pace = field(default_factory=Pace)

    def by_diff(self) -> Run:
        """The run whose choices go by ``--diff``: of whole outputs, where that is not the NMSE."""
        if self.diff is None:
            return self
        return replace(self, lowered=self.diff, float_parts=self.float_model, places=self.reported)

    def warn(self, text: str) -> None:
        """Tell the user at once, and again in the result."""
        text = text.encode("utf-8", "backslashreplace").decode()  # a sample's name may be no UTF-8
        self.warnings.append(text)
        self.reporter.warn(text)

    def readable(self, indices: Sequence[int], data: DatasetSpec | None = None) -> Sequence[int]:
        """Samples that could be decoded: of the calibration data, or of other data."""
        if not self.skipped:
            return indices
        source = (data or self.data).source
        return [i for i in indices if (source, i) not in self.skipped]

    @property
    def tuning(self) -> Sequence[int]:
        """The readable samples that choices and scores are measured on."""
        return self.readable(self.selection.tuning)

    def fuse(self, model: bytes) -> bytes:
        """The graph that the workers run for a QDQ model (:func:`distq.replica.session.fuse`)."""
        began = self.time.elapsed
        fused = fuse(model, WorkerSettings(self.executor.device))
        self.pace.fuse = max(self.pace.fuse, self.time.elapsed - began)
        return fused

    def share_reported(self, model: bytes) -> Blob:
        """An exported model for the workers, with what reports compare as its outputs."""
        return self.executor.share(with_places(model, self.reported))

    def shards(self, indices: Sequence[int], data: DatasetSpec | None = None) -> list[Sequence[int]]:
        """Readable samples, of the calibration data or other data, in pieces; as many for each worker."""
        kept = self.readable(indices, data)
        return shard(kept, self.shard_size(len(kept)), portions_for(self.executor.workers))

    def shard_size(self, images: int) -> int:
        """How many images a unit has at most: the option, or fewer where some workers would have none.

        Where an image takes long, a few of them are shared too.
        """
        most = self.options.shard_size
        if images >= most * LEAST_PORTIONS:
            return most
        return min(most, max(TOGETHER, images_of_a_unit(self.loaded.model), -(-images // LEAST_PORTIONS)))

    def results(self, units: Sequence[Unit]) -> Iterator[Arrays]:
        """Results of units in their order; those in the journal are not run again.

        Raises:
            TimeIsUp: inside :meth:`TimeLimit.limit`, before units for which there is no time.
        """
        return self._results(units, lambda _: 0)

    def batches(self, procedures: int, step: Callable[[int, list[Arrays] | None], Sequence[Unit]]) -> None:
        """Run procedures that wait for batches of units, none of them for another's.

        Args:
            procedures: how many.
            step: gives the next batch of one, by its number and the results of the last, None where it
                begins; empty: it has ended.

        Raises:
            TimeIsUp: inside :meth:`TimeLimit.limit`; what had begun was finished.
        """
        late: list[TimeIsUp] = []
        began: dict[int, tuple[Sequence[Unit], int, float]] = {}

        def in_time(number: int, results: list[Arrays] | None) -> Sequence[Unit]:
            if results is not None:
                before, known, start = began[number]
                if self.tally.recalled == known:
                    at_once = max(1.0, len(before) / (AT_A_TIME * self.executor.workers))
                    self.time.took(type(before[0]), (self.time.elapsed - start) / at_once)
            if late:
                return ()
            units = step(number, results)
            try:
                if units:
                    self._require_time(units)
            except TimeIsUp as up:
                late.append(up)
                return ()
            began[number] = units, self.tally.recalled, self.time.elapsed
            return units

        run_batches(self.executor, self.journal, procedures, in_time, self.tally)
        if late:
            raise late[0]

    def images(self, stage: str, units: Sequence[Unit]) -> Iterator[Arrays]:
        """The same under a progress bar that counts the units' samples."""
        self._require_time(next(iter(self._portions(units)), ()))
        self.reporter.start(stage, sum(map(_images, units)), "samples")
        try:
            yield from self._results(units, _images)
        finally:
            self.reporter.finish()

    def _results(self, units: Sequence[Unit], weight: Callable[[Unit], int]) -> Iterator[Arrays]:
        began, known, first = self.time.elapsed, self.tally.recalled, 0.0
        for part in self._portions(units):
            self._require_time(part)
            start = self.time.elapsed
            for result in run_units(
                self.executor, self.journal, part, self.reporter, weight=weight, tally=self.tally
            ):
                first = first or self.time.elapsed - began
                yield result
            if self.tally.recalled == known:
                batches = max(1.0, len(part) / (AT_A_TIME * self.executor.workers))
                self.time.took(type(part[0]), (self.time.elapsed - start) / batches)
        if units and self.tally.recalled == known:
            self.pace.measured(units, self.executor.workers, first, self.time.elapsed - began)

    def _portions(self, units: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
        """All units together; with a limit of time a few at a time."""
        step = AT_A_TIME * self.executor.workers if self.time.limited else max(1, len(units))
        yield from (units[start : start + step] for start in range(0, len(units), step))

    def _require_time(self, units: Sequence[Unit]) -> None:
        """Have time for units, or know what they give."""
        if self.time.limited and any(unit.key not in self.journal for unit in units):
            self.time.require(self.time.expected(type(units[0])))

    def skip_unreadable(self, result: Arrays, data: DatasetSpec) -> None:
        """Leave out samples that could not be decoded, as many as ``--skip-bad`` allows.

        Raises:
            DataError: more than that.
        """
        for index, reason in zip(result["unreadable"].tolist(), result["reasons"].tolist(), strict=True):
            if (data.source, index) in self.skipped:
                continue
            self.skipped.add((data.source, index))
            if len(self.skipped) > self.options.skip_bad:
                raise DataError(
                    f"{reason}; mend or remove it, or allow some with --skip-bad {len(self.skipped)}"
                )
            self.warn(f"left out: {reason}")

    def count_int8(self, units: Sequence[Unit], results: Sequence[Arrays]) -> None:
        """Add the forwards that units say they ran, once for each: a result may be asked for again."""
        for unit, result in zip(units, results, strict=True):
            if unit.key not in self.counted:
                self.counted.add(unit.key)
                self.cost_so_far.int8_forwards += float(result["forwards"])

    def cost(self) -> Cost:
        """What the run took so far."""
        driver, workers = peak_rss_mb(), self.executor.peak_rss_mb()
        return Cost(
            fp32_forwards=round(self.cost_so_far.fp32_forwards, 3),
            int8_forwards=round(self.cost_so_far.int8_forwards, 3),
            seconds=round(self.time.elapsed, 3),
            workers=self.executor.workers,
            peak_rss_mb=round(driver + sum(workers), 1),
            driver_peak_rss_mb=round(driver, 1),
            worker_peak_rss_mb=tuple(round(worker, 1) for worker in workers),
            search=self.cost_so_far.search,
        )


def _images(unit: Unit) -> int:
    """Samples of a unit."""
    return len(getattr(unit, "indices", ()))
