"""The table of ``--table``, whatever tool it is of, for the quantizers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distq.exchange.formats import Format
from distq.exchange.names import Named, with_tensor_names
from distq.exchange.network import Network, describe
from distq.exchange.own import DISTQ, METHOD, rows_of
from distq.exchange.registry import read_content
from distq.exchange.table import Entry, of_quantizer, row_of_entry
from distq.exchange.text import Content, listed, load_content
from distq.graph.plan import Plan, Quantizer
from distq.graph.read import Reader, read_onnx
from distq.quant.table import Row, Table


@dataclass(frozen=True)
class GivenTable:
    """Rows of a given table.

    Attributes:
        rows: by tensor of the user's network; of distq's own table as they are.
        missing: quantizers that another tool's table has nothing for.
        notes: what is done with what does not fit, a line each.
        wide: tensors with 16 bits.
        own: the table is distq's.
    """

    rows: Table
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    own: bool = True


def read_given(table: Path, model: Path, plan: Plan | None = None, read: Reader = read_onnx) -> GivenTable:
    """Read a table for a network.

    Args:
        table: the file, of any format.
        model: the network's file, for its names.
        plan: where its quantizers stand; None: the rows that are there, whatever stands where.
        read: reads the network's file.

    Raises:
        FileFormatError: the table cannot be read, has no thresholds, or none of this network.
    """
    content = load_content(table)
    found, given = read_content(content)
    if found is DISTQ:
        rows = rows_of(given)
        wide = tuple(sorted({row.tied_to or name for name, row in rows.items() if row.bits == 16}))
        return GivenTable(rows, wide=wide)
    if not given.entries:
        content.fail(f"is {found.title}, which has no thresholds")
    network = describe(model, weights=False, read=read)
    named = with_tensor_names(given, network)
    entries = named.table.entries
    wide = tuple(name for name, entry in entries.items() if entry.bits == 16)
    if plan is None:
        return GivenTable(_rows(entries), wide=wide, own=False)
    found_for = {q.name: _entry(q, entries, network) for q in plan.in_table}
    chosen = {name: _fitted(entry, plan) for name, entry in found_for.items() if entry is not None}
    if not chosen:
        content.fail(
            f"has nothing of the tensors that {model} quantizes, such as {plan.quantizers[0].name}: "
            "take a table of this model"
        )
    missing = tuple(q.name for q in plan.in_table if q.name not in chosen)
    notes = (_reading(content, found), *named.table.warnings, *_left_out(named, entries, plan, network))
    if given.weights:
        notes += ("the table's scales of weights are not used: distq rounds weights itself",)
    return GivenTable(
        _rows(chosen), missing, (*notes, *_range_notes(plan, chosen)), wide=wide, own=False
    )  # fmt: skip


def _rows(entries: Mapping[str, Entry]) -> dict[str, Row]:
    return {name: row_of_entry(entry, METHOD) for name, entry in entries.items()}


def _entry(quantizer: Quantizer, entries: Mapping[str, Entry], network: Network) -> Entry | None:
    """The entry of a quantizer: of its own tensor, of one that shares it, or of what a Relu makes it from."""
    own = (quantizer.name, *quantizer.tensors)
    nearest = (*own, *(t for tensor in own for t in network.before(tensor)))
    return next((entries[tensor] for tensor in nearest if tensor in entries), None)


def _fitted(entry: Entry, plan: Plan) -> Entry:
    """The entry of which the scheme makes the same scale: a symmetric one has no use for the least code."""
    if plan.scheme == "auto" or entry.scale is None or not (entry.symmetric and entry.uses_all_codes):
        return entry
    return of_quantizer(entry.scale, entry.middle, entry.bits)


def _reading(content: Content, found: Format) -> str:
    stated = f", its scale = threshold / {found.convention}" if found.convention else ""
    return f"{content.where} is read as {found.title}{stated}"


def _left_out(
    named: Named, entries: Mapping[str, Entry], plan: Plan, network: Network
) -> Iterable[str]:  # fmt: skip
    if named.surplus:
        names = listed(list(named.surplus))
        yield f"not used of the table, as the model has nothing of these names: {names}"
    quantized = {t for q in plan.in_table for own in q.tensors for t in (own, *network.before(own))}
    others = [name for name in entries if name not in quantized and network.blob(name) not in quantized]
    if others:
        yield f"not used of the table, as they are not quantized: {listed(others)}"
    if named.table.modes:
        yield f"the table's layers in float are not: {listed(list(named.table.modes), 3)}"


def _range_notes(plan: Plan, chosen: Mapping[str, Entry]) -> Iterable[str]:
    """What another scheme or number of bits does to the entries."""
    narrow = [q.name for q in plan.quantizers if q.name in chosen and chosen[q.name].bits > q.bits]
    if narrow:
        yield f"16 bits in the table, 8 in this network: {listed(narrow, 3)}; --int16-layers keeps them"
    signless = [
        q.name
        for q in plan.quantizers
        if q.name in chosen and not chosen[q.name].ranged and not q.non_negative
    ]
    if signless and plan.scheme == "auto":
        yield f"the table has no ranges: one around 0 for {listed(signless, 3)}"
