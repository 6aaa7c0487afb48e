"""distq's own tables: ``thresholds.json``, and the same as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields

from distq.exchange.formats import Format, Request
from distq.exchange.table import (
    Convention,
    Entry,
    ExchangeTable,
    converted_threshold,
    entry_of_row,
    of_quantizer,
    of_threshold,
    row_of_entry,
    with_range,
)
from distq.exchange.text import Content, quoted
from distq.quant.table import FORMAT, Row, Table, dump_table, parse_table

METHOD = "given"
"""The method of a threshold from another tool's table."""

_COLUMNS = ("tensor", *(field.name for field in fields(Row) if field.name != "channels"))


def _is_own(content: Content) -> bool:
    return isinstance(content.json, dict) and content.json.get("format") == FORMAT


def _read_own(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    return of_rows(parse_table(content.data, content.where))


def of_rows(rows: Table) -> ExchangeTable:
    """The table of a run's rows, which are kept for formats that have a place for all of them."""
    return ExchangeTable({name: entry_of_row(row) for name, row in rows.items()}, details=rows)


def rows_of(table: ExchangeTable) -> Table:
    """Rows of ``thresholds.json``; those that a run wrote stay as they were."""
    known: Mapping[str, Row] = table.details if isinstance(table.details, dict) else {}
    return {
        name: row if isinstance(row := known.get(name), Row) else row_of_entry(entry, METHOD)
        for name, entry in table.entries.items()
    }


def _write_own(request: Request) -> bytes:
    return dump_table(rows_of(request.table))


def _is_csv(content: Content) -> bool:
    if content.text is None:
        return False
    header = content.text.split("\n", 1)[0].strip().split(",")
    return header[0].strip().lower() in {"tensor", "name"} and len(header) > 1


def _read_csv(content: Content, convention: Convention) -> ExchangeTable:
    entries: dict[str, Entry] = {}
    rows: Table = {}
    for line, row in _cells(content):
        name = row["tensor"]
        if not name:
            content.fail("has no tensor", line)
        found = _row_of_cells(content, row, line) if set(_COLUMNS) <= set(row) else None
        entry = entry_of_row(found) if found else _entry_of_cells(content, row, line, convention)
        if content.once(entries, name, entry, line):
            entries[name] = entry
            if found:
                rows[name] = found
    if not entries:
        content.fail("has no row under its header")
    return ExchangeTable(entries, details=rows)


def _cells(content: Content) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells, by column, of each row."""
    if content.text is None:
        content.fail("is not text")
    reader = csv.DictReader(io.StringIO(content.text.replace("\r\n", "\n")), strict=True)
    try:
        header = ["tensor" if name == "name" else name for name in _header(reader)]
        if len(set(header)) != len(header):
            content.fail("a column occurs twice", 1)
        if "tensor" not in header or not ("threshold" in header or {"min", "max"} <= set(header)):
            content.fail("needs a column tensor, and threshold or min and max", 1)
        reader.fieldnames = header
        for cells in reader:
            if None in cells or None in cells.values():
                content.fail(f"has another number of cells than the header's {len(header)}", reader.line_num)
            yield reader.line_num, {key: value.strip() for key, value in cells.items()}
    except csv.Error as error:
        content.fail(f"is no CSV: {error}", reader.line_num)


def _header(reader: csv.DictReader[str]) -> list[str]:
    return [name.strip().lower() for name in reader.fieldnames or ()]


def _entry_of_cells(content: Content, row: Mapping[str, str], line: int, convention: Convention) -> Entry:
    bits = content.integer(row["bits"], "bits", range(8, 17, 8), line) if row.get("bits") else 8
    if row.get("scale") and row.get("zero_point"):
        scale = content.positive(row["scale"], "scale", line)
        signed = row.get("signed", "false").lower() in {"true", "1"}
        half = 2 ** (bits - 1)
        among = range(-half, half) if signed else range(2 * half)
        zero_point = content.integer(row["zero_point"], "zero_point", among, line)
        return of_quantizer(scale, zero_point + (half if signed else 0), bits, largest=not signed)
    low, high = (content.number(row[name], name, line) if row.get(name) else None for name in ("min", "max"))
    if row.get("threshold"):
        threshold = content.positive(row["threshold"], "threshold", line)
    elif low is not None and high is not None:
        threshold = content.positive(max(-low, high), "the range", line)
    else:
        content.fail("has neither a threshold nor min and max", line)
    threshold = converted_threshold(threshold, convention, 127, bits)
    if low is None or high is None:
        return of_threshold(threshold, bits)
    if low > high:
        content.fail(f"min {low:g} is above max {high:g}", line)
    return with_range(threshold, low, high, bits)


def _row_of_cells(content: Content, row: Mapping[str, str], line: int) -> Row:
    """A row that distq wrote: every field of it."""
    numbers = {
        name: content.number(row[name], name, line) for name in ("min", "max", "observed_min", "observed_max")
    }
    bits = content.integer(row["bits"], "bits", range(8, 17, 8), line)
    half = 2 ** (bits - 1)
    stated = row["signed"].lower()
    if stated not in {"true", "false"}:
        content.fail(f"signed is {quoted(row['signed'])}; it is true or false", line)
    signed = stated == "true"
    return Row(
        threshold=content.positive(row["threshold"], "threshold", line),
        **numbers,
        bits=bits,
        signed=signed,
        scale=content.positive(row["scale"], "scale", line),
        zero_point=content.integer(
            row["zero_point"], "zero_point", range(-half, half) if signed else range(2 * half), line
        ),
        convention=row["convention"],
        method=row["method"],
        tied_to=row["tied_to"] or None,
        channels=None,
    )


def _write_csv(request: Request) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, row in rows_of(request.table).items():
        cells = asdict(row)
        del cells["channels"]
        cells["signed"] = str(row.signed).lower()
        cells["tied_to"] = row.tied_to or ""
        writer.writerow([name, *(repr(v) if isinstance(v, float) else v for v in cells.values())])
    return stream.getvalue().encode()


DISTQ = Format("distq", "distq's thresholds.json", _is_own, _read_own, _write_own)
CSV = Format("csv", "a CSV with a row a tensor", _is_csv, _read_csv, _write_csv, convention=127)
