"""``distq eval``: how close a model is to its float original, and how often it is right."""

from __future__ import annotations

import onnx_ir as ir

from distq.config import EvaluateOptions
from distq.data.dataset import InputSpec
from distq.data.shards import select, shard
from distq.engine.progress import Reporter
from distq.engine.run import run_units
from distq.errors import DataError, ModelError
from distq.graph.read import read_proto
from distq.jobs.compare import accuracy, top_k_accuracy
from distq.jobs.context import data_spec, input_specs, interruptible, open_workers
from distq.jobs.dealing import turns_of
from distq.jobs.results import EvaluateResult
from distq.replica.evaluate import Evaluate


def evaluate(options: EvaluateOptions, reporter: Reporter) -> EvaluateResult:
    """Compare a candidate with ``against`` where given; count right answers where there are labels.

    Raises:
        InputError: a model or data that cannot be used.
        InterruptedRun: Ctrl-C.
    """
    candidate, _ = read_proto(options.candidate)
    against = None if options.against is None else read_proto(options.against)[0]
    network = ir.from_proto(candidate)
    if against is not None:
        _require_same_inputs(options, network, ir.from_proto(against))
    data = data_spec(options, options.data, network, options.preprocess, options.labels)
    count = len(data.open())
    indices = select(count, options.samples, 1, 0, options.shuffle, options.seed).calibration
    with interruptible(), open_workers(options, reporter) as executor:
        model = executor.share(candidate.SerializeToString())
        reference = None if against is None else executor.share(against.SerializeToString())
        pieces = shard(indices, options.shard_size, turns_of(executor.workers))
        units = [Evaluate((model,), reference, data, piece) for piece in pieces]
        reporter.start("evaluate", len(indices), "images")
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
    return EvaluateResult(
        images=len(indices) - skipped,
        candidate=top_k_accuracy(results, 0) if reference is None else accuracy(results, 0),
        against=None if reference is None else top_k_accuracy(results, -1),
    )


def _require_same_inputs(options: EvaluateOptions, candidate: ir.Model, against: ir.Model) -> None:
    """Refuse models that cannot be fed the same samples.

    Raises:
        ModelError: naming the inputs of both.
    """
    ours, theirs = ({spec.name: spec for spec in input_specs(model)} for model in (candidate, against))
    if set(ours) != set(theirs) or not all(_alike(ours[name], theirs[name]) for name in ours):
        taken = [", ".join(map(_describe, specs.values())) for specs in (ours, theirs)]
        raise ModelError(
            f"{options.candidate} takes {taken[0]}, {options.against} takes {taken[1]}: "
            "compare models with the same inputs"
        )


def _alike(one: InputSpec, other: InputSpec) -> bool:
    """Whether the same arrays can be fed to both, one sample at a time."""
    sizes = zip(one.shape[1:], other.shape[1:], strict=False)
    return (
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(a == b or None in {a, b} for a, b in sizes)
    )


def _describe(spec: InputSpec) -> str:
    shape = "x".join("?" if size is None else str(size) for size in spec.shape[1:])
    return f"{spec.name} ({shape} {spec.dtype})"
