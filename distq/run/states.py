"""States of recurrent models: samples are steps of a sequence, and what one step gives the next one takes.

The float network is run once, step by step, and the samples are recorded with the states that they find. From
then on each of them stands for itself like any other sample, so that work can be cut and repeated anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.config import CalibrateOptions, EvaluateOptions, LayerOptions
from distq.data.dataset import DatasetSpec
from distq.data.manifest import manifest
from distq.data.recorded import Recorder, is_recorded
from distq.data.samples import InputSpec, shape_text
from distq.data.shards import DEFAULT_HOLDOUT
from distq.engine.progress import Reporter
from distq.errors import DataError, UsageError
from distq.files import atomic_write, out_is_taken, sha256_bytes
from distq.graph.named import nearest
from distq.replica.open_sizes import run_sample
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.run.rundir import RunDir

OF = "of.sha256"
"""In a folder of steps: what they were recorded from."""


@dataclass(frozen=True)
class States:
    """What carries over from one sample to the next.

    Attributes:
        pairs: a state input each, and the output that gives its next value.
        sequence: states are 0 again every so many samples; None: at the first alone.
        inputs: all of the model's.
        network: gives the float network as ONNX bytes.
        made: who the network is, such as its SHA-256.
    """

    pairs: tuple[tuple[str, str], ...]
    sequence: int | None
    inputs: tuple[InputSpec, ...]
    network: Callable[[], bytes]
    made: str = ""

    def check(self, outputs: Sequence[str]) -> None:
        """Check the names.

        Raises:
            UsageError: one is no input or output of the model or given twice, or data has nothing to give.
        """
        inputs = [spec.name for spec in self.inputs]
        for taken, given in self.pairs:
            if taken not in inputs:
                text = f"--state names {taken}, which is no input of the model"
                raise UsageError(text + nearest(taken, inputs))
            if given not in outputs:
                text = f"--state names {given}, which is no output of the model"
                raise UsageError(text + nearest(given, outputs))
        if len(self.starts) != len(self.pairs):
            raise UsageError("--state names an input twice: a state is what one output gave")
        if not self.given:
            raise UsageError("--state names every input of the model: one has to be given samples")

    @property
    def given(self) -> tuple[InputSpec, ...]:
        """The inputs that data gives."""
        states = dict(self.pairs)
        return tuple(spec for spec in self.inputs if spec.name not in states)

    @property
    def starts(self) -> dict[str, npt.NDArray[Any]]:
        """Zeros for each state; a dimension that the model leaves open, such as the batch, is 1."""
        states = dict(self.pairs)
        return {
            spec.name: np.zeros([size or 1 for size in spec.shape], spec.dtype)
            for spec in self.inputs
            if spec.name in states
        }


def states_of(
    options: LayerOptions | EvaluateOptions,
    inputs: Sequence[InputSpec],
    outputs: Sequence[str],
    network: Callable[[], bytes],
    made: str = "",
) -> States | None:
    """What the options say of states; None: there are none.

    Args:
        options: of a command.
        inputs: of the model.
        outputs: of the model, by name.
        network: gives the float network as ONNX bytes.
        made: who it is, such as its SHA-256.

    Raises:
        UsageError: they are of another model.
    """
    if not options.state:
        if options.sequence is not None:
            raise UsageError("--sequence says where states start anew: give --state IN=OUT too")
        return None
    states = States(options.state, options.sequence, tuple(inputs), network, made)
    states.check(outputs)
    return states


def run_steps(
    options: CalibrateOptions,
    states: States,
    data: DatasetSpec,
    holdout_data: DatasetSpec,
    reporter: Reporter,
) -> tuple[DatasetSpec, DatasetSpec]:
    """The data of a run with the states that its samples find, and those held out; both in its folder.

    Raises:
        UsageError: the folder is taken, or an option does not go with states.
        DataError: a sample cannot be used, or an output is not what its state input takes.
    """
    rundir = RunDir(options.out)
    if not options.resume and not rundir.free:
        raise out_is_taken(options.out, "run", begun=rundir.run.exists())
    held = DEFAULT_HOLDOUT if options.holdout is None else options.holdout
    separate = options.holdout_data is not None
    most = None if options.shuffle or not options.samples else options.samples + (0 if separate else held)
    steps = with_states(states, data, most, rundir.states, reporter)
    if not separate:
        return steps, steps
    most = None if options.shuffle else held
    return steps, with_states(states, holdout_data, most, rundir.held_out_states, reporter)


def with_states(
    states: States, data: DatasetSpec, most: int | None, folder: Path, reporter: Reporter
) -> DatasetSpec:
    """The data with states: steps in the data's order, recorded from the float network.

    Steps that were recorded from the same network and data before are taken.

    Args:
        states: of the model.
        data: of the inputs that are no states.
        most: the first so many samples; None: all.
        folder: where to record.
        reporter: told of progress.

    Raises:
        UsageError: the run has begun with other data, or an option does not go with states.
        DataError: a sample cannot be used, or an output is not what its state input takes.
    """
    _require_plain(data)
    opened = data.open()
    count = len(opened) if most is None else min(most, len(opened))
    origin = _origin(states, data, count)
    steps = replace(
        data, source=str(folder.absolute()), inputs=states.inputs, preprocessing=None, each=(), root=None
    )
    if is_recorded(folder):
        if _read(folder / OF) == origin:
            return steps
        if RunDir(folder.parent).run.exists():
            raise UsageError(
                f"{folder} holds those of other data, another model or another --sequence: give another --out"
            )
    session = Session(states.network(), WorkerSettings(), float_network=True)
    recorder = Recorder(folder)
    reporter.start("states", count, "samples")
    try:
        for index in range(count):
            if index == 0 or (states.sequence and index % states.sequence == 0):
                state = states.starts
            sample = opened.load(index)
            feeds = sample.inputs | state
            recorder.add({spec.name: feeds[spec.name] for spec in states.inputs})
            found = run_sample(session, states.inputs, feeds, f"sample {sample.name}")
            state = _next(states, dict(zip(session.outputs, found, strict=True)), state)
            reporter.advance()
    finally:
        reporter.finish()
    atomic_write(folder / OF, origin)
    recorder.close()
    return steps


def _next(
    states: States, outputs: dict[str, npt.NDArray[Any]], before: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """The states that the next step finds.

    Raises:
        DataError: an output is not of the shape and dtype of its state.
    """
    found = {taken: outputs[given] for taken, given in states.pairs}
    for taken, given in states.pairs:
        own, wanted = found[taken], before[taken]
        if (own.shape, own.dtype) != (wanted.shape, wanted.dtype):
            raise DataError(
                f"--state {taken}={given}: the output is {shape_text(own.shape)} {own.dtype}, "
                f"the input takes {shape_text(wanted.shape)} {wanted.dtype}: "
                f"name another output, or give --input-shape {taken}=..."
            )
    return found


def _require_plain(data: DatasetSpec) -> None:
    """Refuse what recorded steps would lose.

    Raises:
        UsageError: naming the option.
    """
    if data.labels is not None:
        raise UsageError("--labels are for samples without --state: leave them out")
    if data.stage is not None:
        raise UsageError("--state records the samples anew: leave --stage-data out")
    if data.runs_code:
        raise UsageError("--state takes no preprocessing in Python: give preprocessed arrays")


def _origin(states: States, data: DatasetSpec, count: int) -> bytes:
    """What steps are recorded from, told by contents."""
    facts = {
        "network": states.made,
        "data": manifest(data, range(count)).sha256,
        "preprocess": data.describe_preprocessing(),
        "states": states.pairs,
        "sequence": states.sequence,
    }
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode()).encode() + b"\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
