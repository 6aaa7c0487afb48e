"""``distq convert NET.prototxt``: a Caffe network as an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.exchange.caffe.builder import PRODUCER
from distq.exchange.caffe.convert import read_caffe
from distq.files import atomic_write, require_place


@dataclass(frozen=True)
class ConvertedNetwork:
    """What was written: shapes by tensor, open dimensions by name; ``notes`` say what was passed over."""

    source: Path
    out: Path
    nodes: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    notes: tuple[str, ...]


def convert_network(source: Path, weights: Path | None, out: Path, reporter: Reporter) -> ConvertedNetwork:
    """Convert a network and write it.

    Args:
        source: the prototxt.
        weights: the caffemodel; None: the one of the same name beside it.
        out: the ONNX file; one that was written so before is replaced.
        reporter: told what was passed over.

    Raises:
        ModelError: the network cannot be read or converted.
        UsageError: there is no place for the file.
    """
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise UsageError(f"--out {out} cannot be written: give a file NAME.onnx in a folder that exists")
    if out.exists() and not _is_converted(out):
        raise UsageError(f"--out {out} exists and was not made by distq convert: give another file")
    require_place(out, "--out")
    found = read_caffe(source, weights)
    for note in found.notes:
        reporter.warn(note)
    atomic_write(out, found.model.SerializeToString())
    graph = found.model.graph
    return ConvertedNetwork(
        source=source,
        out=out,
        nodes=len(graph.node),
        inputs={value.name: _shape(value) for value in graph.input},
        outputs={value.name: _shape(value) for value in graph.output},
        notes=found.notes,
    )


def _is_converted(path: Path) -> bool:
    try:
        return str(onnx.load(path, load_external_data=False).producer_name) == PRODUCER
    except (DecodeError, OSError):
        return False


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)
