"""ncnn's .table, as ``ncnn2table`` writes it: scales of weights, then of what each layer reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distq.errors import FileFormatError, UsageError
from distq.exchange.formats import Format, Request
from distq.exchange.network import WeightedNode
from distq.exchange.table import Convention, Entry, ExchangeTable, WeightScales, of_threshold
from distq.exchange.text import Content, listed, quoted
from distq.exchange.two_columns import rows_of
from distq.regular import read_regular

LONGEST_KEY = 255
"""Bytes of a key that ncnn's reader has room for."""

_WEIGHT = "_param_0"
_LAYERS = {
    "Convolution": {"Conv"},
    "ConvolutionDepthWise": {"Conv"},
    "InnerProduct": {"Gemm", "MatMul"},
}
"""Layers of a .param that ncnn computes in INT8, and the ONNX operators they come from."""

_INT8 = frozenset[str]().union(*_LAYERS.values())


@dataclass(frozen=True)
class _Kept:
    """Lines as read: key and numbers."""

    lines: tuple[tuple[str, tuple[float, ...]], ...]


def _recognise(content: Content) -> bool:
    rows = rows_of(content)
    return any("_param_" in row[0] and len(row) > 1 for row in rows) and all(len(row) > 1 for row in rows)


def _read(content: Content, convention: Convention) -> ExchangeTable:
    """A scale is 127/T, what a real number is multiplied by; a key with ``_param_`` is of a weight."""
    del convention
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    lines = []
    for number, line in content.lines():
        name, *fields = line.split() or [""]
        if not name:
            continue
        if not fields:
            content.fail(f"{quoted(name)} has no scale", number)
        scales = tuple(content.positive(text, "a scale", number) for text in fields)
        lines.append((name, scales))
        if "_param_" in name:
            found = WeightScales(tuple(1 / scale for scale in scales))
            if content.once(weights, name, found, number):
                weights[name] = found
            continue
        if len(scales) != 1:
            content.fail(f"{quoted(name)} has {len(scales)} scales; an activation has one", number)
        entry = of_threshold(127 / scales[0])
        if content.once(entries, name, entry, number):
            entries[name] = entry
    own = {name.removesuffix(_WEIGHT): scales for name, scales in weights.items() if name.endswith(_WEIGHT)}
    return ExchangeTable(entries, weights=own, naming="layer input", details=_Kept(tuple(lines)))


def _write(request: Request) -> bytes:
    if isinstance(request.table.details, _Kept):
        return _text(request.table.details.lines)
    network = request.require_network("ncnn has scales of layers, by their names")
    table, weights = network.entries(request.table.entries), request.weights()
    weighted = tuple(w for w in network.weighted if w.op in _INT8)
    layers = [w for w in weighted if w.input in table and not network.in_float(w, request.table.modes)]
    missing = [w.name for w in network.weighted if w not in layers]
    if missing:
        request.warn(f"layers without scales stay in float: {listed(missing, 3)}")
    request.warn_of_zero_points()
    request.warn_of_bits()
    names = _names(request.names, weighted) if request.names else {w.name: w.name for w in layers}
    bad = [name for name in names.values() if name.split() != [name] or len(name.encode()) > LONGEST_KEY - 8]
    if bad:
        request.warn(f"no names with blanks or over {LONGEST_KEY} bytes: {listed(bad, 2)} left out")
        layers = [w for w in layers if names[w.name] not in bad]
    request.warn_of_unread(table[w.input] for w in layers)
    lines = [(names[w.name] + _WEIGHT, _weight_scales(w, weights[w.name])) for w in layers]
    lines += [(names[w.name], (127 / table[w.input].threshold,)) for w in layers]
    return _text(lines)


def _weight_scales(node: WeightedNode, weight: WeightScales) -> tuple[float, ...]:
    """Multipliers, one for each output channel; of a convolution with groups one for each group.

    ncnn's ``ConvolutionDepthWise`` has one scale a group (ncnn, tools/quantize/ncnn2int8.cpp).
    """
    ranges = weight.ranges if len(weight.ranges) == node.channels else weight.ranges * node.channels
    if node.groups > 1:
        size = max(1, len(ranges) // node.groups)
        ranges = tuple(max(ranges[i : i + size]) for i in range(0, len(ranges), size))
    return tuple(127 / largest for largest in ranges)


def _text(lines: list[tuple[str, tuple[float, ...]]] | tuple[tuple[str, tuple[float, ...]], ...]) -> bytes:
    return "".join(
        f"{name} {''.join(f'{scale:.6f} ' for scale in scales)}\n" for name, scales in lines
    ).encode()


def _names(param: Path, nodes: tuple[WeightedNode, ...]) -> dict[str, str]:
    """Names of ncnn's layers by node, in the order of both; counts and kinds have to agree.

    Raises:
        UsageError: they do not.
    """
    layers = list(_param_layers(param))
    kinds = [(node.op, node.name) for node in nodes]
    if len(layers) != len(kinds) or any(
        op not in _LAYERS[kind] for (kind, _), (op, _) in zip(layers, kinds, strict=False)
    ):
        raise UsageError(
            f"{param} has {len(layers)} layers with weights, the model {len(kinds)}, or of other kinds: "
            "give the .param that was made of this model"
        )
    return {node: name for (_, name), (_, node) in zip(layers, kinds, strict=True)}


def _param_layers(param: Path) -> Iterator[tuple[str, str]]:
    """Type and name of the layers with weights of a .param: its first line is a magic number."""
    try:
        lines = read_regular(param).decode().splitlines()
    except OSError as error:
        raise FileFormatError(f"cannot read {param}: {error.strerror}; give ncnn's .param") from error
    except UnicodeDecodeError:
        raise FileFormatError(f"{param} is no text .param of ncnn") from None
    if not lines or lines[0].strip() != "7767517":
        raise FileFormatError(f"{param} is no text .param of ncnn: its first line is not 7767517")
    for line in lines[2:]:
        fields = line.split()
        if len(fields) > 1 and fields[0] in _LAYERS:
            yield fields[0], fields[1]


NCNN = Format("ncnn", "ncnn's .table", _recognise, _read, _write)
