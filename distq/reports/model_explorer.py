"""Node data for Google's Model Explorer: the graph's nodes coloured by error, and by their precision.

The format is that of ``GraphNodeData`` (google-ai-edge/model-explorer, node_data_builder.py): ``results`` by
the id of a node. The ONNX adapter (model_explorer_onnx) takes the node's name for it, as Netron shows it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import onnx

from distq.errors import UsageError
from distq.files import atomic_write
from distq.regular import read_regular
from distq.reports.facts import RunFacts, TensorFacts
from distq.run.rundir import RunDir

_GRADIENT = [
    {"stop": 0, "bgColor": "#b3261e", "textColor": "#ffffff"},
    {"stop": 0.5, "bgColor": "#f6c667", "textColor": "#1f1f1f"},
    {"stop": 1, "bgColor": "#e8f3e8", "textColor": "#1f1f1f"},
]
"""From the lowest SQNR to the highest."""

_COLOURS = {"INT8": "#cfe3f7", "INT16": "#f6c667", "float": "#f2b8b5"}

_SQNR, _LEAVES, _PRECISION = "own SQNR, dB", "part of the error", "precision"

_ENDINGS = ("_quantized", "_dequantized", "_before_quantizer", "_alone")
"""Of a tensor's name where the INT8 model has it in other forms."""


def write_node_data(run: RunFacts, page: Path) -> tuple[Path, ...]:
    """Write a file for each of what nodes can be coloured by, beside a page.

    Args:
        run: to show.
        page: whose name theirs begin with.

    Returns:
        The files: SQNR of each tensor by itself, its precision and, where ``distq diff --sensitivity`` told
        it, the part of the error that leaves with it.

    Raises:
        UsageError: a file of that name is there, and is no node data; nothing was written.
        ExecutionError: one cannot be written.
    """
    files = {page.with_name(f"{page.stem}.{name}.json"): content for name, content in node_data(run).items()}
    for path in files:
        if path.exists() and not _is_node_data(path):
            raise UsageError(f"{path} exists and is no node data of distq: give another --out, or move it")
    for path, content in files.items():
        atomic_write(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return tuple(files)


def _is_node_data(path: Path) -> bool:
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("name") in {_SQNR, _LEAVES, _PRECISION}


def node_data(run: RunFacts) -> dict[str, dict[str, Any]]:
    """Node data by what it shows."""
    nodes = _nodes(run)
    found = {
        "sqnr": _data(_SQNR, nodes, _sqnr(run), gradient=_GRADIENT),
        "precision": _data(_PRECISION, nodes, {t.name: _precision(t) for t in run.tensors}),
    }
    parts = {cost.tensor: cost.part for measured in run.measured for cost in measured.tensors}
    if parts:
        found["part"] = _data(_LEAVES, nodes, parts, gradient=_GRADIENT[::-1])
    return found


def _data(
    name: str,
    nodes: Mapping[str, tuple[str, ...]],
    values: Mapping[str, float | str],
    gradient: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    results: dict[str, dict[str, Any]] = {}
    for tensor, value in values.items():
        colour = {} if isinstance(value, float) else {"bgColor": _COLOURS[value], "textColor": "#1f1f1f"}
        results |= {node: {"value": value, **colour} for node in nodes.get(tensor, ())}
    stops = [{**stop, "stop": i / 2} for i, stop in enumerate(gradient)]
    return {"name": name, "results": results, **({"gradient": stops} if stops else {})}


def _sqnr(run: RunFacts) -> dict[str, float]:
    fits = {t.name: t.fit or t.fit_before for t in run.tensors if t.row is not None}
    return {name: fit.sqnr_db for name, fit in fits.items() if fit is not None and math.isfinite(fit.sqnr_db)}


def _precision(tensor: TensorFacts) -> str:
    if tensor.row is None or tensor.reason:
        return "float"
    return f"INT{tensor.row.bits}"


def _nodes(run: RunFacts) -> dict[str, tuple[str, ...]]:
    """Ids of the nodes that make a tensor, by its name: in the user's ONNX file, and in the INT8 model."""
    given = Path(str(run.record.get("model", {}).get("path", "")))
    files = [given] if run.float_bytes and given.suffix == ".onnx" else []
    files += [path for path in (RunDir(run.path).model,) if path.is_file()]
    found: dict[str, dict[str, None]] = {}
    for path in files:
        for tensor, node in _makers(onnx.load_model(path, load_external_data=False).graph, set(run.by_name)):
            found.setdefault(tensor, {})[node] = None
    return {tensor: tuple(nodes) for tensor, nodes in found.items()}


def _makers(graph: onnx.GraphProto, tensors: Set[str]) -> Iterator[tuple[str, str]]:
    """Tensors and the ids of the nodes that make them.

    These are the node that writes it and all in front of that which lead nowhere else, as a convolution in
    front of its activation does.
    """
    for value in graph.input:
        yield value.name, f"[value] {value.name}"
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    leads_to: dict[str, str | None] = {}
    for number, node in reversed([*enumerate(graph.node)]):
        for name in node.output:
            behind = {leads_to.get(output) for reader in readers.get(name, ()) for output in reader.output}
            leads_to[name] = _tensor(name, tensors) or (behind.pop() if len(behind) == 1 else None)
        for tensor in {leads_to[name] for name in node.output} - {None}:
            yield str(tensor), node.name or f"<node_{number}>"


def _tensor(name: str, tensors: Set[str]) -> str | None:
    """The user's tensor that a name of either file stands for, if any."""
    names = (name, *(name.removesuffix(ending) for ending in _ENDINGS))
    return next((one for one in names if one in tensors), None)
