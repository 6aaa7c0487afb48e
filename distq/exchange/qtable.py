"""TPU-MLIR's qtable: the type each operator is computed in. It has no thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from distq.errors import plural
from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, ExchangeTable
from distq.exchange.text import Content, quoted

MODES = frozenset(
    {
        *("F32", "BF16", "F16", "INT8", "INT4", "W8F16", "W8BF16", "W4F16", "W4BF16", "W4INT8"),
        *("F8E4M3", "F8E5M2", "QDQ", "INT8F16DYN", "INT8BF16DYN", "INT4F16DYN", "INT4BF16DYN"),
        *("F8E4M3F16DYN", "F8E4M3BF16DYN", "F4F16DYN", "F4BF16DYN", "MXF4F16DYN", "MXF4BF16DYN"),
    }
)
"""Modes of TPU-MLIR 1.30."""

FLOAT = "F16"
_HEADER = "# op_name   quantize_mode"


@dataclass(frozen=True)
class _Kept:
    """The lines as they are; a number stands for the mode of that operator."""

    lines: tuple[str, ...]


def _recognise(content: Content) -> bool:
    if content.text is None:
        return False
    lines = [line.strip() for line in content.text.split("\n", 400)[:400]]
    if any(line.startswith("# op_name") and line.endswith("quantize_mode") for line in lines):
        return True
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return bool(rows) and all(len(row) == 2 and row[1].upper() in MODES for row in rows)


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    modes: dict[str, str] = {}
    lines = []
    for number, line in content.lines():
        lines.append(line)
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) != 2:
            content.fail(f"has {plural(len(fields), 'field')}; a row is 'name mode'", number)
        name, mode = fields[0], fields[1].upper()
        if mode not in MODES:
            content.fail(f"{quoted(fields[1])} is no mode of TPU-MLIR", number)
        if content.once(modes, name, mode, number):
            modes[name] = mode
    return ExchangeTable({}, modes=modes, naming="operator", details=_Kept(tuple(lines)))


def _write(request: Request) -> bytes:
    table = request.table
    if isinstance(table.details, _Kept):
        return "\n".join(table.details.lines).encode()
    network = request.require_network("TPU-MLIR names a tensor with the operator that writes it")
    modes = dict(table.modes)
    own = network.entries(table.entries)
    for name, entry in own.items():
        if entry.bits == 16 and name in network.producer:
            modes.setdefault(name, FLOAT)
    typed = network.bounded(own).keys() | network.sizes
    typed |= {node.own_output for node in network.weighted if node.folded}
    for tensor in network.producer:
        if tensor not in typed:  # TPU-MLIR stops at INT8 without a threshold
            modes.setdefault(tensor, FLOAT)
    if any(entry.bits == 16 for entry in table.entries.values()):
        request.warn(f"no 16-bit integers: what has them gets {FLOAT}")
    lines = [_HEADER]
    lines += [
        f"{tensor}_{network.producer[tensor].op} {modes[tensor]}"
        for tensor in network.tensors
        if tensor in modes and tensor in network.producer
    ]
    return ("\n".join(lines) + "\n").encode()


QTABLE = Format("qtable", "TPU-MLIR's qtable", _recognise, _read, _write)
