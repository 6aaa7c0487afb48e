"""``distq eval``: how close a model is to its float original, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir

from distq.config import EvaluateOptions
from distq.data.dataset import DatasetSpec
from distq.data.samples import InputSpec, shape_text
from distq.data.shards import select, shard
from distq.ending import temporary_folder
from distq.engine.portions import portions_for
from distq.engine.progress import Reporter
from distq.engine.run import run_units
from distq.errors import DataError, ModelError, UsageError
from distq.exchange.model_file import is_caffe, network_reader
from distq.graph.compared import compared_tensors
from distq.graph.heads import with_tensors
from distq.graph.input_shapes import with_shapes
from distq.graph.large import from_proto
from distq.graph.widened import in_double, widen
from distq.replica.evaluate import Evaluate
from distq.replica.measured import records_of
from distq.replica.saturation import told_of
from distq.replica.worker import WorkerSettings
from distq.run.figures import Speed
from distq.run.given_data import given_data, require_data
from distq.run.measures import first_sample, make_measuring, measured
from distq.run.open import interruptible, starting_workers
from distq.run.results import EvaluateResult
from distq.run.samples import data_spec, input_specs
from distq.run.seal import require_undamaged
from distq.run.speed import speed
from distq.run.starting import Starting
from distq.run.states import states_of, with_states
from distq.stages.compare import accuracy, top_k_accuracy


def evaluate(options: EvaluateOptions, reporter: Reporter) -> EvaluateResult:
    """Compare a candidate with ``against`` where given; count right answers where there are labels.

    Raises:
        InputError: a model or data that cannot be used.
        InterruptedRun: Ctrl-C.
    """
    require_data(options.data, options.candidate, options.against)
    with (
        interruptible(),
        temporary_folder("distq-eval-") as folder,
        starting_workers(options, reporter) as starting,
    ):
        starting.begin(options.candidate, options.against, options.data)
        return _evaluated(options, reporter, folder / "states", starting)


def _evaluated(
    options: EvaluateOptions, reporter: Reporter, folder: Path, starting: Starting
) -> EvaluateResult:
    """The same; ``folder`` is for samples with the states that they find."""
    require_undamaged(options.candidate, options.against)
    candidate = _read(options, options.candidate, reporter)
    against = None if options.against is None else _read(options, options.against, reporter)
    network = from_proto(candidate)
    inputs = input_specs(network)
    ours, theirs = candidate.SerializeToString(), None
    if against is not None:
        original = from_proto(against)
        inputs = _shared_inputs(options, inputs, input_specs(original))
        ours, theirs = _comparable(options, (candidate, network), (against, original))
    outputs = [value.name or "" for value in network.graph.outputs]
    states = states_of(options, inputs, outputs, lambda: theirs or ours)
    inputs = inputs if states is None else states.given
    described = options.candidate if is_caffe(options.candidate) else options.against
    given = given_data(described, options.data, options.preprocess, inputs)
    data = data_spec(options, given, inputs, options.labels, outputs)
    for note in (*data.notes, *told_of(candidate.graph)):
        reporter.warn(note)
    if states is not None:
        data = with_states(states, data, None, folder, reporter)
    indices = _chosen(options, data.count())
    measuring = make_measuring(
        options.measure,
        theirs or ours,
        data,
        indices,
        reporter,
        annotations=options.annotations,
        allow_code=options.allow_code,
    )
    if against is None and any(measure.needs_float for measure in measuring.measures):
        raise UsageError("--measure compares with a float model: give --against")
    with starting.take() as executor:
        model = executor.share(ours)
        reference = None if theirs is None else executor.share(theirs)
        pieces = shard(indices, options.shard_size, portions_for(executor.workers))
        units = [Evaluate((model,), reference, data, piece, measuring=measuring) for piece in pieces]
        reporter.start("evaluate", len(indices), "samples")
        results = []
        skipped = 0
        for result in run_units(executor, None, units, reporter, weight=lambda u: len(u.indices)):  # type: ignore[attr-defined]  # units with samples
            skipped += result["unreadable"].size
            if skipped > options.skip_bad:
                raise DataError(
                    f"{result['reasons'][0]}; mend or remove it, or allow some with --skip-bad {skipped}"
                )
            results.append(result)
        reporter.finish()
    for i, measure in enumerate(measuring.measures):
        if not records_of(results, i, 0):
            reporter.warn(
                f"--measure {measure.name} says nothing: has no sample what it needs, such as a label?"
            )
    found = top_k_accuracy(results, 0) if reference is None else accuracy(results, 0)
    if found is None and not measuring.measures and not options.speed:
        reporter.warn("nothing was measured: give --against FLOAT, or labels with --labels FILE")
    return EvaluateResult(
        images=len(indices) - skipped,
        candidate=found,
        against=None if reference is None else top_k_accuracy(results, -1),
        measures=tuple(
            measured(measure, records_of(results, i, 0), records_of(results, i, 1))
            for i, measure in enumerate(measuring.measures)
        ),
        speed=_speed(options, candidate, against, data, indices) if options.speed else None,
    )


def _chosen(options: EvaluateOptions, count: int) -> Sequence[int]:
    """The samples behind those that are skipped, as many as were asked for.

    Raises:
        DataError: there are fewer.
    """
    skip, samples = options.skip, options.samples
    if skip and skip + max(samples, 1) > count:
        raise DataError(
            f"--skip {skip} and {max(samples, 1)} samples behind asked for, the data has {count}: "
            "skip fewer, or give more data"
        )
    wanted = skip + samples if samples else 0
    return select(count, wanted, 1, 0, options.shuffle, options.seed).calibration[skip:]


def _speed(
    options: EvaluateOptions,
    candidate: onnx.ModelProto,
    against: onnx.ModelProto | None,
    data: DatasetSpec,
    indices: Sequence[int],
) -> Speed:
    """Both models timed on the first readable sample, when no worker computes any more."""
    sample = first_sample(data, indices)
    settings = WorkerSettings(device=options.device, threads=options.cpus_per_worker or 1)
    theirs = None if against is None else against.SerializeToString()
    return speed(candidate.SerializeToString(), theirs, sample.inputs, settings)


def _read(options: EvaluateOptions, path: Path, reporter: Reporter) -> onnx.ModelProto:
    """One of the two; the weights given are those of the float model if it is Caffe's, else the other's."""
    caffe = [p for p in (options.against, options.candidate) if p is not None and is_caffe(p)]
    owner = caffe[0] if caffe else options.candidate
    read = network_reader(options.weights if path == owner else None)
    found = with_shapes(read, dict(options.input_shape))(path)
    for note in found.notes:
        reporter.warn(note)
    if in_double(found.proto):
        widen(found.proto)
    return found.proto


def _comparable(
    options: EvaluateOptions,
    candidate: tuple[onnx.ModelProto, ir.Model],
    against: tuple[onnx.ModelProto, ir.Model],
) -> tuple[bytes, bytes]:
    """Both models, with what can be compared as outputs where the shape of one depends on the data.

    Indices are compared by what they are chosen from where both models choose alike and no measure is named.

    Raises:
        ModelError: they have not as many outputs, or not as many of these.
    """
    for indices in (True, False)[bool(options.measure) :]:
        ours, theirs = (compared_tensors(model, indices=indices) for _, model in (candidate, against))
        if len(ours) == len(theirs):
            break
    else:
        counts = [len(model.graph.outputs) for _, model in (candidate, against)]
        if counts[0] != counts[1]:
            raise ModelError(
                f"{options.candidate} has {counts[0]} outputs, {options.against} has {counts[1]}: "
                "compare models with the same outputs"
            )
        raise ModelError(
            f"{options.candidate} and {options.against} differ in front of outputs whose shape depends on "
            "the data: compare a model with the one that it was made from"
        )
    if theirs == [value.name for value in against[1].graph.outputs]:
        return candidate[0].SerializeToString(), against[0].SerializeToString()
    return with_tensors(_copy(candidate[0]), ours), with_tensors(_copy(against[0]), theirs)


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy, as the model itself is timed as it is."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    return made


def _shared_inputs(
    options: EvaluateOptions, ours: Sequence[InputSpec], theirs: Sequence[InputSpec]
) -> tuple[InputSpec, ...]:
    """What a sample must be for both models: a dimension that one leaves open is the other's.

    Raises:
        ModelError: they cannot be fed the same samples; naming the inputs of both.
    """
    named = {spec.name: spec for spec in theirs}
    if {spec.name for spec in ours} != set(named) or not all(_alike(s, named[s.name]) for s in ours):
        taken = [", ".join(map(_describe, specs)) for specs in (ours, theirs)]
        raise ModelError(
            f"{options.candidate} takes {taken[0]}, {options.against} takes {taken[1]}: "
            "compare models with the same inputs"
        )
    return tuple(replace(spec, shape=_narrower(spec.shape, named[spec.name].shape)) for spec in ours)


def _alike(one: InputSpec, other: InputSpec) -> bool:
    """Whether the same arrays can be fed to both."""
    sizes = zip(one.shape, other.shape, strict=False)
    return (
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(a == b or None in {a, b} for a, b in sizes)
    )


def _narrower(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def _describe(spec: InputSpec) -> str:
    return f"{spec.name} ({shape_text(spec.sample_shape)} {spec.dtype})"
