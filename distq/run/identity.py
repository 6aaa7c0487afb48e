"""What makes two runs the same: the fields that decide a result, and the versions that decide its bits."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distq.config import DEFAULT_DIFF, LAYER_OPTIONS, CalibrateOptions, LayerOptions, measure_key
from distq.data.dataset import DatasetSpec
from distq.data.remote import read_url
from distq.errors import InputError
from distq.files import sha256_bytes, sha256_file
from distq.graph.load import LoadedModel
from distq.instructions import integer_instructions
from distq.run.context import Manifests
from distq.urls import url_of

PACKAGES = (
    "distq",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "ray",
)

NOT_IDENTITY = frozenset(
    {
        "skip_bad",
        "executor",
        "workers",
        "device",
        "address",
        "resume",
        "shard_size",
        "cache_memory",
        "stage_data",
        "cpus_per_worker",
        "gpus_per_worker",
        "decode_workers",
        "wait_for_workers",
        "retries",
        "unit_timeout",
        "out",
        "allow_code",
        "dump_dist",
        "report",
        "time",
        "weights",
    }
)
"""Options that say where and how a job runs, not what it computes; they may change on resume.

The model's SHA-256 is of its weights as well.
"""


_MEASURES = frozenset({"measure", "diff"})
"""Options that are a part of the job where they are given: runs of earlier versions have none of them."""


def identity(
    *,
    options: CalibrateOptions,
    command: str,
    loaded: LoadedModel,
    data: DatasetSpec,
    manifests: Manifests,
) -> dict[str, Any]:
    """The fields that decide a run's result."""
    fields = options.model_dump(mode="json")
    as_before = set(LAYER_OPTIONS) - {name for name, _ in set_by_layer(options)}
    chosen = {
        name: value
        for name, value in fields.items()
        if name not in NOT_IDENTITY | _MEASURES | as_before and not isinstance(getattr(options, name), Path)
    }
    if "equalize" in chosen:  # earlier versions wrote true where the effort decides
        chosen["equalize"] = {None: True, True: "always", False: False}[chosen["equalize"]]
    named = ("table", "load_dist", "labels", "layer_config", "input_config")
    measures = _measures(options)
    files = {name: getattr(options, name) for name in named}
    own, held = manifests
    return {
        "command": command,
        **chosen,
        **{name: file_identity(path) for name, path in files.items() if path is not None},
        **measures,
        "model": loaded.sha256,
        "data": own.sha256,
        "holdout": held.sha256,
        "preprocess": data.describe_preprocessing(),
        "integer_instructions": integer_instructions(),
    }


def _measures(options: CalibrateOptions) -> dict[str, object]:
    """What is measured and lowered, and by which annotations, where it is not the default."""
    found: dict[str, object] = {}
    if options.measure:
        found["measure"] = [_measure(one) for one in options.measure]
    lowered = getattr(options, "diff", DEFAULT_DIFF)
    if lowered != DEFAULT_DIFF:
        found["diff"] = _measure(lowered)
    if options.annotations is not None:
        found["annotations"] = _annotations(options.annotations)
    return found


def _annotations(path: Path) -> str:
    """SHA-256 of a file, or over the names and contents of a folder's XML files."""
    if not path.is_dir():
        return file_identity(path)
    files = sorted(path.rglob("*.xml"))
    return sha256_bytes("".join(f"{file.name} {file_identity(file)}\n" for file in files).encode())


def _measure(one: object) -> str:
    """A measure by its name, a file by its content."""
    key = measure_key(one)
    return file_identity(Path(key)) if isinstance(one, str) and key.endswith(".py") else key


def set_by_layer(options: LayerOptions) -> list[tuple[str, object]]:
    """The options by layer that differ from their defaults; runs of earlier versions have none of them."""
    fields, own = LayerOptions.model_fields, options.model_dump(mode="json")
    return [(n, own[n]) for n in LAYER_OPTIONS if getattr(options, n) != fields[n].default]


def file_identity(path: Path) -> str:
    """SHA-256 of a file the job reads.

    Raises:
        InputError: it cannot be read.
    """
    url = url_of(path)
    try:
        return sha256_file(path) if url is None else sha256_bytes(read_url(url))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a file that is there") from error


def versions() -> dict[str, str]:
    """Versions of what decides the bits."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
