"""A model of a tuning job on many workers: rounds of units, one after the other, and one driver for all."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from itertools import cycle, islice

from scaling_trace import PER_SAMPLE, RoundCost, UnitCost

from distq.data.shards import MOST_SHARDS


@dataclass(frozen=True)
class Machine:
    """What runs the units.

    Attributes:
        workers: actors.
        dispatch: driver seconds to send a unit and fetch its result.
        latency: seconds until a worker without a second unit in flight has the next.
        cores: of everything together; None: enough.
        gpu: how much faster sessions run than on the core that was measured.
        decoders: threads that decode beside each worker.
        bandwidth: bytes per second of the storage, all workers together; None: enough.
        sample_bytes: of a stored sample.
    """

    workers: int
    dispatch: float
    latency: float
    cores: int | None = None
    gpu: float = 1.0
    decoders: int = 1
    bandwidth: float | None = None
    sample_bytes: float = 0.0


@dataclass
class Outcome:
    """Seconds of a job, and what each bound would take if nothing else took time."""

    seconds: float = 0.0
    units: int = 0
    decode: float = 0.0
    storage: float = 0.0
    sessions: float = 0.0  # the GPU's, or the core's where there is none
    counting: float = 0.0  # the worker's CPU beside the session
    dispatch: float = 0.0  # the driver's, to send units and fetch results
    merge: float = 0.0  # the driver's, to merge and note results
    order: float = 0.0  # the longest unit of every round and the driver between rounds: no worker shortens it


def with_samples(rounds: list[RoundCost], samples: int) -> list[RoundCost]:
    """The same job on another number of calibration samples: more units of those that there are per sample.

    distq cuts samples into at most ``MOST_SHARDS`` units; beyond that they are larger.
    """
    grown = []
    for each in rounds:
        kinds = {unit.kind for unit in each.units}
        images = sum(unit.images for unit in each.units)
        if not images or not kinds <= PER_SAMPLE:
            grown.append(each)
            continue
        wanted = max(1, round(len(each.units) * samples / images))
        count = min(wanted, MOST_SHARDS)
        units = [_larger(unit, wanted / count, n) for n, unit in enumerate(islice(cycle(each.units), count))]
        units[0].setup = each.units[0].setup
        grown.append(RoundCost(each.gap, units))
    return grown


def _larger(unit: UnitCost, times: float, number: int) -> UnitCost:
    """The same unit on more samples; what it opens and what the driver merges stay."""
    return replace(
        unit,
        affinity=None if unit.affinity is None else number,
        setup=0.0,
        images=round(unit.images * times),
        infer=unit.infer * times,
        decode=unit.decode * times,
        rest=unit.rest * times,
    )


def simulate(rounds: list[RoundCost], machine: Machine) -> Outcome:
    """Play a job.

    A round's units go to the worker of their affinity, or the one that is free first. The driver sends one
    unit and takes one result at a time; a round ends when the last result is merged. Every worker opens what
    the first unit of a round opened.

    Args:
        rounds: as recorded.
        machine: what they run on.
    """
    outcome = Outcome()
    for each in rounds:
        _play(each.units, machine, outcome)
        outcome.seconds += each.gap
        outcome.order += each.gap
    return outcome


def _play(units: list[UnitCost], machine: Machine, outcome: Outcome) -> None:
    free = [0.0] * machine.workers
    idle = [(0.0, worker) for worker in range(machine.workers)]
    used: set[int] = set()
    finishes, work, sent = [], 0.0, 0.0
    for number, unit in enumerate(units):
        if unit.affinity is None:
            while idle[0][0] < free[idle[0][1]]:  # it has been given more since
                heapq.heapreplace(idle, (free[idle[0][1]], idle[0][1]))
            worker = idle[0][1]
        else:
            worker = unit.affinity % machine.workers
        seconds = unit_seconds(unit, machine)
        if worker not in used and number:
            seconds += units[0].setup
        sent += machine.dispatch
        begin = max(free[worker], sent) + (0.0 if worker in used else machine.latency)
        used.add(worker)
        free[worker] = begin + seconds
        finishes.append((free[worker], unit.driver))
        work += seconds + unit.driver + machine.dispatch
    merged = 0.0
    for finish, driver in sorted(finishes):
        merged = max(merged, finish) + driver
    read = sum(unit.images for unit in units if unit.decode > 0)  # others were kept by the workers
    storage = read * machine.sample_bytes / (machine.bandwidth or float("inf"))
    outcome.seconds += max(merged, storage, work / (machine.cores or float("inf")))
    outcome.units += len(units)
    outcome.storage += storage
    outcome.decode += sum(unit.decode for unit in units) / machine.decoders / machine.workers
    outcome.sessions += sum(unit.infer for unit in units) / machine.gpu / machine.workers
    outcome.counting += sum(unit.rest for unit in units) / machine.workers
    outcome.dispatch += machine.dispatch * len(units)
    outcome.merge += sum(unit.driver for unit in units)
    outcome.order += max(unit_seconds(unit, machine) for unit in units) + machine.latency + units[-1].driver


def unit_seconds(unit: UnitCost, machine: Machine) -> float:
    """Of a worker; decoding goes on beside the rest."""
    return unit.setup + max(unit.decode / machine.decoders, unit.infer / machine.gpu + unit.rest)
