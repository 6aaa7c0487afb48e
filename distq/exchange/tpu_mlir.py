"""TPU-MLIR's calibration table.

Blocks as ``run_calibration`` of TPU-MLIR 1.30 writes them, read by its ``CalibrationTable`` (Python)
and by the import pass (C++), which takes rows in digits alone: no ``+``, no capital E.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from distq.errors import plural
from distq.exchange.formats import Format, Request
from distq.exchange.network import Network
from distq.exchange.table import (
    Convention,
    Entry,
    ExchangeTable,
    WeightScales,
    converted_threshold,
    with_range,
)
from distq.exchange.text import Content, listed, quoted

LEAST = 1e-5
"""What TPU-MLIR writes for a threshold below it."""

_COLUMNS = "# op_name    threshold    min    max"
_SWITCHES = {
    "#weight_scale": "weights",
    "#weight_scale_fp8": "weights",
    "#int4_th": "int4",
    "#int4_op": "names",
    "#asym_op": "names",
    "#tpu-mlir-fp8": "fp8",
}
_LOOSE = ("asym_op", "int4_op", "mqbench-fp8", "int4_th", "weight_scale", "tpu-mlir-fp8")
_ROW = re.compile(r"\S+(\s+[-+0-9.eE]+){3}\s*")
_CONVENTION = re.compile(r"# scale: threshold / (127|128)")


@dataclass(frozen=True)
class _Kept:
    """Lines as they are: comments before the rows, the blocks behind them, and the rows by name."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    rows: Mapping[str, str]


@dataclass
class _Reading:
    """What has been read, and which block the next line is of."""

    content: Content
    convention: Convention
    block: str = "rows"
    entries: dict[str, Entry] = field(default_factory=dict)
    weights: dict[str, WeightScales] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    symmetric: set[str] = field(default_factory=set)
    warnings: dict[str, str] = field(default_factory=dict)

    def comment(self, number: int, text: str) -> None:
        """Switch blocks; only the exact spellings do, where TPU-MLIR looks for them anywhere in a comment."""
        if text in _SWITCHES:
            self.block = _SWITCHES[text]
            if self.block == "fp8":
                self.content.fail("is a table for FP8; take one for INT8", number)
        elif text == "# symmetric_op":
            self.block = "symmetric"
        elif self.block == "symmetric":
            self.symmetric.add(text.removeprefix("# "))
        elif (stated := _CONVENTION.fullmatch(text)) is not None and not self.entries:
            self.convention = 127 if stated[1] == "127" else 128
        elif any(word in text for word in _LOOSE):
            self.warnings.setdefault(
                "block",
                f"line {number}: TPU-MLIR takes this comment for the beginning of a block, distq does not",
            )

    def row(self, number: int, line: str) -> None:
        """A line ``name threshold min max``."""
        fields = line.split()
        if len(fields) != 4:
            self.content.fail(
                f"has {plural(len(fields), 'field')}; a row is 'name threshold min max', no name has blanks",
                number,
            )
        name, threshold, low, high = fields
        if any("+" in text or "E" in text for text in fields[1:]):
            self.warnings.setdefault(
                "number",
                f"line {number}: TPU-MLIR passes over numbers with '+' or a capital E, distq reads them",
            )
        ends = [self.content.number(text, what, number) for text, what in ((low, "min"), (high, "max"))]
        if ends[0] > ends[1]:
            self.content.fail(f"min {low} is above max {high}", number)
        values = (self.content.positive(threshold, "threshold", number), *ends)
        top, bottom, upper = (converted_threshold(value, self.convention, 127) for value in values)
        entry = with_range(top, bottom, upper)
        if self.content.once(self.entries, name, entry, number):
            self.entries[name], self.lines[name] = entry, line

    def weight(self, number: int, line: str) -> None:
        """A line ``name_weight n s1 .. sn``."""
        name, *fields = line.split()
        count = self.content.integer(
            fields[0] if fields else "", "the number of scales", range(1, 1 << 24), number
        )
        if len(fields) != count + 1:
            self.content.fail(f"says {count} scales and has {len(fields) - 1}", number)
        found = WeightScales(tuple(self.content.positive(text, "a scale", number) for text in fields[1:]))
        if self.content.once(self.weights, name, found, number):
            self.weights[name] = found


def _recognise(content: Content) -> bool:
    if content.text is None:
        return False
    lines = [line.rstrip() for line in content.text.split("\n", 400)[:400]]
    if any(line.startswith(_COLUMNS) for line in lines):
        return True
    rows = [line for line in lines if line and not line.startswith("#")]
    return bool(rows) and _ROW.fullmatch(rows[0]) is not None


def _read(content: Content, convention: Convention) -> ExchangeTable:
    reading = _Reading(content, convention)
    around: tuple[list[str], list[str]] = ([], [])
    for number, line in content.lines():
        text = line.strip()
        if text.startswith("#"):
            reading.comment(number, text)
        elif text and reading.block == "rows":
            reading.row(number, line)
            continue
        elif text and reading.block == "weights":
            reading.weight(number, line)
        around[bool(reading.entries)].append(line)
    if not reading.entries:
        content.fail("has no row 'name threshold min max'")
    for name in (
        reading.symmetric & reading.entries.keys()
    ):  # their columns are -T*128/127 and T, not the range
        entry = reading.entries[name]
        reading.entries[name] = with_range(entry.threshold, min(entry.low, 0.0), entry.threshold)
    before, after = map(tuple, around)
    return ExchangeTable(
        reading.entries,
        weights=reading.weights,
        naming="operator",
        warnings=tuple(reading.warnings.values()),
        details=_Kept(before, after, reading.lines),
        convention=reading.convention,
    )


def _write(request: Request) -> bytes:
    table = request.table
    kept = table.details if isinstance(table.details, _Kept) else None
    entries = dict(table.entries)
    network = request.network
    if kept is None:
        network = request.require_network("TPU-MLIR names a tensor with the operator that writes it")
        entries = operator_names(network, request, network.bounded(network.entries(entries)))
        request.warn_of_zero_points(unsigned=True)
        request.warn_of_bits()
        request.warn_of_weights()
    stated = f"# scale: threshold / {request.convention}"
    if kept is None:
        counts = zip(("sample", "tune"), table.samples or (), strict=False)
        said = [line for what, count in counts for line in (f"# {what} number: {count}", "###")]
        lines = [stated, *said, _COLUMNS]
    else:
        lines = [stated if _CONVENTION.fullmatch(line.strip()) else line for line in kept.before]
    as_read = kept.rows if kept and table.convention == request.convention else {}
    small = [name for name, entry in entries.items() if entry.threshold < LEAST]
    if small:
        request.warn(f"no threshold below {LEAST:g}, which {listed(small, 2)} get")
    for name, entry in entries.items():
        if name in as_read:
            lines.append(as_read[name])
            continue
        values = (max(entry.threshold, LEAST), entry.low, entry.high)
        numbers = (converted_threshold(value, 127, request.convention) for value in values)
        lines.append(" ".join((name, *(f"{number:.7f}" for number in numbers))))
    lines += kept.after if kept else [""]
    return "\n".join(lines).encode()


def operator_names(network: Network, request: Request, entries: dict[str, Entry]) -> dict[str, Entry]:
    """Entries under TPU-MLIR's names: a tensor with its operator's type behind, an input as it is.

    Folding BatchNormalization into a convolution leaves TPU-MLIR either's tensor, so both get the entry.
    A name with a blank cannot be said, and is left out with a warning.
    """
    found, blank = {}, []
    folded = {node.own_output: entries[node.output] for node in network.weighted if node.output in entries}
    every = folded | entries
    folds = {node.own_output for node in network.weighted if node.folded}
    for tensor in filter(every.__contains__, network.tensors):
        node = network.producer.get(tensor)
        name = tensor if node is None else f"{tensor}_{node.op}"
        if name.split() == [name]:
            found[name] = every[tensor]
        else:
            blank.append(quoted(tensor))
    lacking = [t for t in network.tensors if t not in every and t not in folds | network.sizes]
    if lacking:
        request.warn(f"no layers without thresholds, which --to qtable lists as float: {listed(lacking, 3)}")
    if blank:
        request.warn(f"no names with blanks: {listed(blank, 2)} left out")
    return found


TPU_MLIR = Format("tpu-mlir", "TPU-MLIR's calibration table", _recognise, _read, _write, convention=127)
