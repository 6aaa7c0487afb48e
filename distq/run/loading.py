"""Whether the network that a run works on computes what the user's file does."""

from __future__ import annotations

from collections.abc import Sequence

from distq.data.dataset import DatasetSpec
from distq.errors import DataError, ExecutionError, ModelError, PreprocessError
from distq.graph.load import OPTIONAL_STEPS, LoadedModel, load_model
from distq.graph.read import opset_of
from distq.replica.open_sizes import run_sample
from distq.replica.reference import Feeds, Reference, first_at_fault, random_feeds
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.run.samples import input_specs

CHECKED, MOST_TRIED = 2, 8
"""Samples that the two networks are compared on, of the first ones that can be decoded."""


UNSTABLE = frozenset(
    {
        "TopK",
        "ArgMax",
        "ArgMin",
        "Hardmax",
        "NonMaxSuppression",
        "NonZero",
        "Unique",
        "Compress",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Equal",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Cast",
    }
)
"""Operators that make a large difference of rounding: of two equal scores either may come first."""


def checked(loaded: LoadedModel, samples: Sequence[Feeds], settings: WorkerSettings) -> LoadedModel:
    """The model, without a rewrite that changes what it computes.

    Args:
        loaded: as :func:`distq.graph.load.load_model` gives it.
        samples: feeds to compare on; without any it is taken as it is.
        settings: device and threads of the sessions.

    Raises:
        DataError: it leaves sizes open, and does not run with those of the samples.
        ModelError: ONNX Runtime does not run the file, or what it computes changes all the same; the operator
            is named.
    """
    if not samples:
        return loaded
    path = loaded.path
    proto = loaded.read(path).proto
    given = proto.SerializeToString()
    try:
        session, specs = Session(given, settings), input_specs(loaded.model)
        outputs = [run_sample(session, specs, sample, str(path)) for sample in samples]
    except ExecutionError as error:
        raise ModelError(f"{path} does not run: {error}; export it for ONNX Runtime") from error
    reference = Reference(session, samples, outputs)
    wrong = _differing(reference, loaded, settings)
    operator = first_at_fault(given, loaded.serialized(), samples[0], settings) if wrong else ""
    if not wrong or operator in UNSTABLE:
        return loaded
    for step in (name for name in OPTIONAL_STEPS if name not in loaded.without):
        other = load_model(path, loaded.without | {step}, read=loaded.read)
        if not _differing(reference, other, settings):
            return other
    raise ModelError(
        f"{path}: {operator} of opset {opset_of(proto)} cannot be brought into the form that distq quantizes "
        f"without changing output {wrong[0]}: export it with a newer opset"
    )


def first_samples(data: DatasetSpec, indices: Sequence[int]) -> list[Feeds]:
    """A few samples as they are fed; those that cannot be decoded are passed over.

    A plug-in is not run in this process: random values take the place of its images, or nothing where the
    model leaves dimensions open.
    """
    if data.runs_code:
        sizes = [size for spec in data.inputs for size in spec.sample_shape]
        return [] if None in sizes else list(random_feeds(data.inputs, CHECKED))
    dataset = data.open()
    found: list[Feeds] = []
    for index in indices[:MOST_TRIED]:
        try:
            found.append(dataset.load(index).inputs)
        except (DataError, PreprocessError):  # a worker says it, with the remedy
            continue
        if len(found) == CHECKED:
            break
    return found


def _differing(reference: Reference, loaded: LoadedModel, settings: WorkerSettings) -> tuple[str, ...]:
    try:
        return reference.differing(Session(loaded.serialized(), settings))
    except ExecutionError:  # a network that does not even run is no better than a wrong one
        return tuple(v.name or "" for v in loaded.model.graph.outputs)
