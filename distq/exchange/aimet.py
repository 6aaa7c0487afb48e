"""Encodings of Qualcomm's AIMET and QAIRT, versions 0.6.1, 1.0.0 and 2.0.0.

x = (q + offset) * scale with unsigned q in 0.6.1 and 1.0.0; x = (q - y_zero_point) * y_scale in 2.0.0
(aimet_onnx 2.42, _encoding.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from distq.exchange.formats import Format, Request
from distq.exchange.network import Network
from distq.exchange.table import Convention, Entry, ExchangeTable, WeightScales, of_quantizer
from distq.exchange.text import Content, quoted

_PRODUCER = {"package": "distq", "version": "1"}
Encodings = Mapping[str, object]


def version_of(content: Content) -> str | None:
    """Which version a file is of, by its shape as much as by what it says; None: no encodings."""
    found = content.json
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("encodings"), list):
        return "2.0"
    activations = found.get("activation_encodings")
    if isinstance(activations, dict):
        return "0.6"
    return "1.0" if isinstance(activations, list) else None


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    found, version = content.json, version_of(content)
    if not isinstance(found, dict) or version is None:
        content.fail("has no encodings of AIMET")
    stated = found.get("version")
    warnings = []
    if stated is not None and not str(stated).startswith(version[0]):
        warnings.append(f"says version {quoted(stated)} and is of {version}: it is read as {version}")
    entries: dict[str, Entry] = {}
    weights: dict[str, WeightScales] = {}
    modes: dict[str, str] = {}
    for name, rows, parameter in _all(content, found, version):
        _add(content, name, rows, parameter, (entries, weights, modes))
    if not entries and not weights:
        content.fail("has no encodings")
    return ExchangeTable(entries, weights=weights, modes=modes, warnings=tuple(warnings), details=found)


def _all(
    content: Content, found: Encodings, version: str
) -> Iterator[tuple[str, list[Encodings], bool | None]]:
    """Name, encodings and whether it is a parameter (None: not said) of everything in a file."""
    if version == "2.0":
        rows = found["encodings"]
        yield from ((name, [row], None) for name, row in _named(content, rows))
        return
    for key, parameter in (("activation_encodings", False), ("param_encodings", True)):
        part = found.get(key, {} if version == "0.6" else [])
        if version == "1.0" and isinstance(part, list):
            yield from ((name, [row], parameter) for name, row in _named(content, part))
        elif isinstance(part, dict):
            for name, rows in part.items():
                listed = rows if isinstance(rows, list) else [rows]
                if not all(isinstance(row, dict) for row in listed):
                    content.fail(f"the encodings of {quoted(name)} are no objects")
                yield name, listed, parameter
        else:
            content.fail(f"{key} is neither a list nor an object")


def _named(content: Content, rows: object) -> Iterator[tuple[str, Encodings]]:
    seen: dict[str, Encodings] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            content.fail(f"an encoding has no name: {quoted(row)}")
        if content.once(seen, row["name"], row):
            seen[row["name"]] = row
    yield from seen.items()


Found = tuple[dict[str, Entry], dict[str, WeightScales], dict[str, str]]


def _add(content: Content, name: str, rows: list[Encodings], parameter: bool | None, found: Found) -> None:
    entries, weights, modes = found
    if not rows:
        return
    first = rows[0]
    if str(first.get("dtype", "int")).lower() == "float":
        modes[name] = f"F{first.get('bw', first.get('bitwidth', 16))}"
        return
    if first.get("enc_type") == "PER_BLOCK" or "block_size" in first or "per_block_int_scale" in first:
        content.fail(f"the encoding of {quoted(name)} is by block; distq's are by tensor or channel")
    bits, scales, zero_points = _numbers(content, name, rows)
    if bits == 32:
        return  # a bias, whose scale follows from its layer's
    if parameter or (parameter is None and (len(scales) > 1 or "axis" in first)):
        if bits == 8:
            weights[name] = WeightScales(tuple(scales))
        return
    if bits not in {8, 16}:
        content.fail(f"the encoding of {quoted(name)} has {bits} bits; distq's activations have 8 or 16")
    if len(scales) != 1:
        content.fail(f"the activation {quoted(name)} has {len(scales)} scales; it has one")
    entries[name] = of_quantizer(scales[0], zero_points[0], bits, largest=not _is_symmetric(first))


def _is_symmetric(row: Encodings) -> bool:
    """What an encoding says of itself; in version 2.0 a signed type does."""
    if "y_scale" in row:
        return not str(row.get("output_dtype", "uint8")).startswith("u")
    return str(row.get("is_sym", row.get("is_symmetric", False))).lower() == "true"


def _numbers(content: Content, name: str, rows: list[Encodings]) -> tuple[int, list[float], list[int]]:
    """Bits, scales, and zero points among unsigned codes."""
    first, what = rows[0], f"of {quoted(name)}"
    if "y_scale" in first:
        kind = str(first.get("output_dtype", "uint8"))
        digits = kind.removeprefix("u").removeprefix("int")
        bits = content.integer(digits, f"output_dtype {what}", range(2, 33))
        half = 2 ** (bits - 1) if not kind.startswith("u") else 0
        scales = _list(first["y_scale"])
        zeros = _list(first.get("y_zero_point", 0)) or [0]
        zeros = zeros * len(scales) if len(zeros) == 1 else zeros
        among = range(-half, half) if half else range(2**bits)
        points = [content.integer(z, f"y_zero_point {what}", among) + half for z in zeros]
    else:
        bits = content.integer(first.get("bw", first.get("bitwidth", 8)), f"bitwidth {what}", range(2, 33))
        scales = [s for row in rows for s in _list(row.get("scale"))]
        offsets = [o for row in rows for o in _list(row.get("offset", 0))]
        among = range(-(2**bits) + 1, 1)
        points = [-content.integer(o, f"offset {what}", among) for o in offsets]
    values = [content.positive(s, f"the scale {what}") for s in scales]
    if not values or len(points) != len(values):
        content.fail(f"{quoted(name)} has {len(values)} scales and {len(points)} offsets")
    return bits, values, points


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dump(content: Mapping[str, object]) -> bytes:
    """As AIMET writes it: keys sorted, four blanks."""
    return json.dumps(content, indent=4, sort_keys=True).encode()


def _parts(request: Request) -> tuple[dict[str, Entry], dict[str, WeightScales]]:
    """Activations, and weights by the user's initializers.

    AIMET refuses a name that its graph has not. Folding BatchNormalization there leaves the convolution's
    tensor, and a Relu's input has no quantizer.
    """
    table, network = request.table, request.network
    if network is None:
        if table.weights:
            request.warn("names of weights are those of the table: --model gives the initializers'")
        return dict(table.entries), dict(table.weights)
    weights = request.weights()
    if any(node.folded for node in network.weighted):
        request.warn("scales of weights are those behind folding BatchNormalization: fold it in AIMET first")
    known = {n.output: n.own_output for n in network.weighted}
    entries = {known.get(t, t): table.entries[t] for t in network.tensors if t in table.entries}
    return entries, {n.weight: weights[n.name] for n in network.weighted}


def _float(request: Request) -> list[str]:
    """Tensors in float that no integer layer reads."""
    return [name for name in request.table.modes if name not in request.table.entries]


def _encodings(version: str, activations: object, parameters: object) -> bytes:
    return _dump(
        {
            "version": version,
            "producer": _PRODUCER,
            "activation_encodings": activations,
            "param_encodings": parameters,
            "quantizer_args": {},
        }
    )


def _write_0(request: Request) -> bytes:
    if isinstance(request.table.details, dict):
        return _dump(request.table.details)
    entries, weights = _parts(request)

    def row(scale: float, offset: int, bits: int, *, signed: bool) -> dict[str, object]:
        low, high = offset * scale, (offset + 2**bits - 1) * scale
        return {
            "bitwidth": bits, "dtype": "int", "is_symmetric": str(signed), "max": high, "min": low,
            "offset": offset, "scale": scale,
        }  # fmt: skip

    activations: dict[str, list[dict[str, object]]] = {
        name: [row(entry.quantizer[0], -entry.quantizer[1], entry.bits, signed=entry.leaves_least_code)]
        for name, entry in entries.items()
    }
    activations |= {name: [{"bitwidth": 16, "dtype": "float"}] for name in _float(request)}
    parameters = {
        name: [row(scale, -(2 ** (w.bits - 1)), w.bits, signed=True) for scale in w.scales]
        for name, w in weights.items()
    }
    return _encodings("0.6.1", activations, parameters)


def _write_1(request: Request) -> bytes:
    if isinstance(request.table.details, dict):
        return _dump(request.table.details)
    entries, weights = _parts(request)

    def row(name: str, scales: list[float], offset: int, bits: int, *, signed: bool) -> dict[str, object]:
        kind = "PER_TENSOR" if len(scales) == 1 else "PER_CHANNEL"
        return {
            "name": name, "enc_type": kind, "dtype": "INT", "bw": bits, "is_sym": signed,
            "scale": scales, "offset": [offset] * len(scales),
        }  # fmt: skip

    activations = [
        row(name, [entry.quantizer[0]], -entry.quantizer[1], entry.bits, signed=entry.leaves_least_code)
        for name, entry in entries.items()
    ]
    activations += [
        {"name": name, "enc_type": "PER_TENSOR", "dtype": "FLOAT", "bw": 16} for name in _float(request)
    ]
    parameters = [
        row(name, list(w.scales), -(2 ** (w.bits - 1)), w.bits, signed=True) for name, w in weights.items()
    ]
    return _encodings("1.0.0", activations, parameters)


def _write_2(request: Request) -> bytes:
    if isinstance(request.table.details, dict):
        return _dump(request.table.details)
    entries, weights = _parts(request)
    rows: list[dict[str, object]] = []
    for name, entry in entries.items():
        scale, zero_point = entry.quantizer
        point = {"y_zero_point": zero_point} if zero_point else {}
        rows.append({"name": name, "output_dtype": f"uint{entry.bits}", "y_scale": scale} | point)
    axes = {n.weight: n.axis for n in request.network.weighted} if request.network else {}
    for name, weight in weights.items():
        rows.append(
            {"name": name, "output_dtype": f"int{weight.bits}"} | _scales(weight.scales, axes.get(name, 0))
        )
    if request.network is not None:
        rows += _biases(request.network, request.table.entries, weights)
    return _dump({"version": "2.0.0", "producer": _PRODUCER, "encodings": rows})


def _scales(scales: tuple[float, ...], axis: int | None) -> dict[str, object]:
    return {"y_scale": scales[0]} if len(scales) == 1 else {"y_scale": list(scales), "axis": axis or 0}


def _biases(
    network: Network, entries: Mapping[str, Entry], weights: Mapping[str, WeightScales]
) -> Iterator[dict[str, object]]:
    """int32 encodings of biases, without which QAIRT leaves their layers in float."""
    for node in network.weighted:
        if node.bias is not None and node.input in entries:
            scale = entries[node.input].quantizer[0]
            scales = tuple(scale * s for s in weights[node.weight].scales)
            yield {"name": node.bias, "output_dtype": "int32"} | _scales(scales, 0)


AIMET_0 = Format(
    "aimet-0.6",
    "encodings of AIMET and QNN, version 0.6.1",
    lambda content: version_of(content) == "0.6",
    _read,
    _write_0,
)
AIMET_1 = Format(
    "aimet-1.0",
    "encodings of AIMET and QNN, version 1.0.0",
    lambda content: version_of(content) == "1.0",
    _read,
    _write_1,
)
AIMET_2 = Format(
    "aimet-2.0",
    "encodings of AIMET and QNN, version 2.0.0",
    lambda content: version_of(content) == "2.0",
    _read,
    _write_2,
)
