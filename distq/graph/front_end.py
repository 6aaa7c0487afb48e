"""The transform that a network of sound begins with: its weights are waves that no training has changed.

An STFT or a constant-Q transform is exported as convolutions or products whose rows are windowed sines and
cosines, and filters of a mel scale behind them. The logarithm that follows makes a small error of a quiet
frequency as large as one of a loud frequency, so that 8 bits lose what the network listens for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distq.graph.layers import compute_layer
from distq.graph.linear import result_of
from distq.graph.values import constant, reads, subgraphs

if TYPE_CHECKING:
    import onnx_ir as ir

Rows = npt.NDArray[np.float64]

LAYOUT = frozenset(
    {
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Slice",
        "Split",
        "Concat",
        "Pad",
        "Gather",
        "Cast",
    }
)
"""What may stand between a network's input and the waves; a factor may, too, such as the window."""

FACTOR = frozenset({"Mul", "Div"})

SPECTRA = frozenset({"STFT", "DFT"})
"""Operators that are such a transform; the filters behind them are layers."""

LEAST_LENGTH = 32
"""A shorter row has so few frequencies that any row seems to be of one."""

MOST_LENGTH = 1 << 16
"""No window is longer: it is a picture that was laid flat."""

LEAST_ROWS = 8
PART = 0.8
"""Of the rows that have to be waves, with a partner a quarter of a period away."""

LOBE, ZEROS, ENERGY = 3, 4, 0.9
"""Nine tenths of a wave's energy lie within three steps of its frequency; spectra are four times as fine."""

ALIKE, APART = 0.95, 0.2
"""A wave and its partner have one spectrum, and hardly correlate."""


def front_end(graph: ir.Graph, carried: AbstractSet[str]) -> list[ir.Node]:
    """Layers whose weights are waves, fed by an input through operators of layout alone; filters behind them.

    Args:
        graph: of the network in canonical form.
        carried: compute operators that INT8 carries.
    """
    sources = {value: value for value in graph.inputs}  # what tensors are but for their layout
    waiting: dict[ir.Value, list[tuple[ir.Node, Rows]]] = {}
    behind: set[ir.Value] = set()
    found: list[ir.Node] = []
    nodes = list(graph)
    for node in nodes:
        data = reads(node) if node.op_type in {"Concat", "If", *FACTOR} else node.inputs[:1]
        origin = next((sources[v] for v in data if v is not None and v in sources), None)
        if origin is None:
            continue
        if node.op_type in SPECTRA and not node.domain:
            behind.update(node.outputs)
        elif _keeps_values(node):
            sources.update(dict.fromkeys(node.outputs, origin))
        elif compute_layer(node, carried) is not None and (rows := _rows(node)) is not None:
            waiting.setdefault(origin, []).append((node, rows))
            if len(rows) == 1 and _is_lowpass(rows[0]):  # halves the rate for lower octaves
                sources[result_of(node)] = result_of(node)
    for layers in waiting.values():
        waves = _waves(layers)
        found += waves
        behind.update(value for node in waves for value in (*node.outputs, result_of(node)))
    if not found and not behind:
        return []
    lowpass = [n for layers in waiting.values() for n, r in layers if len(r) == 1 and _is_lowpass(r[0])]
    chosen = {*found, *lowpass, *_filters(nodes, behind, carried)}
    return [node for node in nodes if node in chosen]


def _keeps_values(node: ir.Node) -> bool:
    if node.domain:
        return False
    if node.op_type == "If":  # what a squeeze is where the size is open
        return all(n.op_type in {"Identity", *LAYOUT} for branch in subgraphs(node) for n in branch)
    return node.op_type in LAYOUT or (
        node.op_type in FACTOR and any(constant(value) is not None for value in node.inputs)
    )


def _rows(node: ir.Node) -> Rows | None:
    """What a layer multiplies its input by, (outputs, length); None where that is no row of one channel."""
    weight = constant(node.inputs[1])
    if weight is None:
        return None
    if node.op_type == "Conv":
        if weight.shape[1] != 1 or node.attributes.get_int("group", 1) != 1:
            return None
        lengths = [size for size in weight.shape[2:] if size > 1]
        rows = weight.reshape(len(weight), -1) if len(lengths) == 1 else None
    elif node.op_type in {"Gemm", "MatMul"} and weight.ndim == 2:
        rows = _by_output(node, weight)
    else:
        rows = None
    fits = rows is not None and LEAST_LENGTH <= rows.shape[1] <= MOST_LENGTH
    return rows.astype(np.float64) if rows is not None and fits else None


def _by_output(product: ir.Node, weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The matrix of a Gemm or MatMul, a row an output."""
    turned = product.op_type == "Gemm" and product.attributes.get_int("transB", 0) == 1
    return weight if turned else weight.T


def _waves(layers: Iterable[tuple[ir.Node, Rows]]) -> list[ir.Node]:
    """Of layers that read the same, those whose rows are waves in pairs, each pair in one layer or two."""
    by_length: dict[int, list[tuple[ir.Node, Rows]]] = {}
    for node, rows in layers:
        by_length.setdefault(rows.shape[1], []).append((node, rows))
    found: list[ir.Node] = []
    for alike in by_length.values():
        every = np.concatenate([rows for _, rows in alike])
        paired = iter(_paired(every))
        for node, rows in alike:
            flags = [next(paired) for _ in rows]
            used = [flag for flag, row in zip(flags, rows, strict=True) if np.abs(row).max() > 0]
            if len(used) >= LEAST_ROWS and sum(used) >= PART * len(used):
                found.append(node)
    return found


def _paired(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows are waves that have a partner: of the same spectrum, a quarter of a period away."""
    spectra, peaks = _spectra_of_waves(rows)
    norms = np.sqrt((rows**2).sum(axis=1))
    paired = np.zeros(len(rows), bool)
    order = sorted(spectra, key=lambda i: peaks[i])
    for position, i in enumerate(order):
        for j in order[position + 1 :]:
            if peaks[j] - peaks[i] > ZEROS:
                break
            size = np.sqrt((spectra[i] ** 2).sum() * (spectra[j] ** 2).sum())
            if spectra[i] @ spectra[j] < ALIKE * size or abs(rows[i] @ rows[j]) > APART * norms[i] * norms[j]:
                continue
            paired[i] = paired[j] = True
    return paired


def _spectra_of_waves(rows: Rows) -> tuple[dict[int, npt.NDArray[np.float64]], dict[int, int]]:
    """The spectrum of each row that is a wave, and its largest place; of others none is kept."""
    spectra, peaks = {}, {}
    for i, row in enumerate(rows):
        spectrum = np.abs(np.fft.rfft(row, ZEROS * len(row))) ** 2
        peak = int(spectrum.argmax())
        if spectrum[peak] > 0 and _is_wave(row, spectrum, peak):
            spectra[i], peaks[i] = spectrum, peak
    return spectra, peaks


def _is_wave(row: npt.NDArray[np.float64], spectrum: npt.NDArray[np.float64], peak: int) -> bool:
    """Whether nearly all energy is near one frequency, as near as the part that is not 0 is long."""
    there = np.flatnonzero(np.abs(row) > 1e-4 * np.abs(row).max())
    length = int(there[-1] - there[0]) + 1
    if length < LEAST_LENGTH // 2:
        return False
    width = -(-LOBE * ZEROS * len(row) // length)
    if 2 * width + 1 > len(spectrum) // 2 and length < LEAST_LENGTH:
        return False
    near = spectrum[max(0, peak - width) : peak + width + 1].sum()
    return bool(near >= ENERGY * spectrum.sum())


def _is_lowpass(row: npt.NDArray[np.float64]) -> bool:
    """Whether a row is a symmetric filter that holds the upper third of frequencies back."""
    if not np.allclose(row, row[::-1], atol=1e-3 * np.abs(row).max()):
        return False
    spectrum = np.abs(np.fft.rfft(row, ZEROS * len(row))) ** 2
    upper = spectrum[-len(spectrum) // 3 :]
    return bool(upper.sum() < 0.01 * spectrum.sum())


def _filters(nodes: Iterable[ir.Node], waves: set[ir.Value], carried: AbstractSet[str]) -> Iterator[ir.Node]:
    """Products with filters of a mel scale: each adds up one band of what the waves gave."""
    derived = set(waves)
    for node in nodes:
        if not any(value in derived for value in reads(node)):
            continue
        if compute_layer(node, carried) is None:
            derived.update(node.outputs)
        elif _adds_bands(node):
            yield node


def _adds_bands(node: ir.Node) -> bool:
    weight = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or not (weight >= 0).all():
        return False
    if node.op_type in {"Gemm", "MatMul"} and weight.ndim == 2:
        rows = _by_output(node, weight)
    elif node.op_type == "Conv" and weight[0, 0].size == 1:
        rows = weight.reshape(weight.shape[:2])
    else:
        return False
    if min(rows.shape) < LEAST_ROWS or 2 * np.count_nonzero(rows) > rows.size:
        return False
    there = [np.flatnonzero(row) for row in rows if row.any()]
    return all(int(one[-1]) - int(one[0]) < len(one) for one in there)
