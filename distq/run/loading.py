"""Load a model, and make sure that the canonical network computes what the user's file does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distq.errors import ExecutionError, ModelError
from distq.graph.load import OPTIONAL_STEPS, LoadedModel, load_model
from distq.graph.read import opset_of, read_proto
from distq.replica.reference import Feeds, check_same, first_at_fault
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings


def load_checked(path: Path, samples: Sequence[Feeds], settings: WorkerSettings) -> LoadedModel:
    """Load a model; a rewrite that changes what it computes is left out.

    Args:
        path: of the ONNX file.
        samples: feeds to compare on; a few are enough.
        settings: device and threads of the sessions.

    Raises:
        ModelError: it cannot be read, ONNX Runtime does not run it, or what it computes changes all the same;
            the operator is named.
    """
    loaded = load_model(path)
    proto, _ = read_proto(path)
    given = proto.SerializeToString()
    try:
        Session(given, settings).run(samples[0])
    except ExecutionError as error:
        raise ModelError(f"{path} does not run: {error}; export it for ONNX Runtime") from error
    wrong = _differing(given, loaded, samples, settings)
    if not wrong:
        return loaded
    for step in (name for name in OPTIONAL_STEPS if name not in loaded.without):
        other = load_model(path, loaded.without | {step})
        if not _differing(given, other, samples, settings):
            return other
    operator = first_at_fault(given, loaded.serialized(), samples[0], settings)
    raise ModelError(
        f"{path}: {operator} of opset {opset_of(proto)} cannot be brought into the form that distq quantizes "
        f"without changing output {wrong[0]}: export it with a newer opset"
    )


def _differing(
    given: bytes, loaded: LoadedModel, samples: Sequence[Feeds], settings: WorkerSettings
) -> tuple[str, ...]:
    try:
        return check_same(given, loaded.serialized(), samples, settings)
    except ExecutionError:  # a network that does not even run is no better than a wrong one
        return tuple(v.name or "" for v in loaded.model.graph.outputs)
