"""How fast the workers of a run are, as measured while they work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from distq.engine.executor import Unit


@dataclass(frozen=True)
class Speed:
    """Of one kind of work units, on all workers together.

    Attributes:
        start: seconds before the first forward: models are opened.
        each: seconds of a forward of one network.
    """

    start: float
    each: float

    def seconds(self, forwards: float) -> float:
        """What so many forwards take."""
        return self.start + self.each * forwards


@dataclass
class Pace:
    """What was measured so far.

    Attributes:
        fuse: seconds that ONNX Runtime takes to fuse the network, in the driver.
        correct: seconds of rounding and correcting all layers of one network.
        answer: seconds that it takes to make once more what was found, where that is done.
    """

    fuse: float = 0.0
    correct: float = 0.0
    answer: float = 0.0
    _speeds: dict[str, Speed] = field(default_factory=dict)

    def measured(self, units: Sequence[Unit], workers: int, first: float, whole: float) -> None:
        """Take in what units of one kind took, all of which ran.

        The units that come first, one a worker, open the models; so the rest tell the speed, if they are
        enough.

        Args:
            units: with samples.
            workers: that ran them.
            first: seconds until the first result was there.
            whole: seconds until all were.
        """
        forwards = [len(unit.indices) * networks_of(unit) for unit in units if hasattr(unit, "indices")]
        head, rest = sum(forwards[:workers]), sum(forwards[workers:])
        if not forwards or not head:
            return
        each = (whole - first) / rest if rest >= head else whole / (head + rest)
        start = max(0.0, first - each * head) if rest >= head else 0.0
        self._speeds[type(units[0]).__name__] = Speed(start, each)

    def of(self, kind: type, *others: type) -> Speed:
        """The speed of a kind of units; where it is not known yet, that of the first known of others."""
        names = [one.__name__ for one in (kind, *others)]
        return next((self._speeds[name] for name in names if name in self._speeds), Speed(0.0, 0.0))


def networks_of(unit: Unit) -> int:
    """How many networks a unit runs each sample through: models and the one they are compared with."""
    return len(getattr(unit, "models", ())) + 1
