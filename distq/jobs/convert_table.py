"""``distq convert``: a threshold table, or those of a run, in another tool's format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from distq.config import ConvertOptions
from distq.engine.progress import Reporter
from distq.errors import FileFormatError, UsageError
from distq.exchange.formats import Format, Request
from distq.exchange.model_file import network_reader
from distq.exchange.names import with_tensor_names
from distq.exchange.network import Network, describe
from distq.exchange.own import DISTQ
from distq.exchange.registry import find_format, read_content, recognise
from distq.exchange.table import Convention, ExchangeTable
from distq.exchange.text import listed, load_content
from distq.files import atomic_write, require_place
from distq.run.run_table import read_run_table
from distq.run.rundir import RunDir
from distq.run.seal import require_undamaged

NOTE = ".note.txt"
"""What the name of the note beside a table ends with, which says what the format has no place for."""


@dataclass(frozen=True)
class ConvertResult:
    """What was written.

    Attributes:
        out: the file.
        note: beside it: the convention, where the format has no place for it; else None.
        source_format, format: names of the two formats.
        tensors: how many activations have an entry.
        weights: how many weights have scales.
        convention: of the thresholds: scale = T/127 or T/128; None where the file has scales or ranges.
        warnings: what the format cannot say, and names that were not found.
    """

    out: Path
    note: Path | None
    source_format: str
    format: str
    tensors: int
    weights: int
    convention: Convention | None
    warnings: tuple[str, ...]


def convert_table(options: ConvertOptions, reporter: Reporter) -> ConvertResult:
    """Read a table, give it the names of the user's network, and write it in another format.

    A format that was read and is written again keeps its own names, comments and fields.

    Raises:
        InputError: the table, the network or an option cannot be used; nothing was written.
        ExecutionError: the disk does not take the file.
    """
    wanted = find_format(options.to)
    if options.weights is not None and options.model is None:
        raise UsageError("--weights goes with --model NET.prototxt: give both or none")
    if options.source.resolve() == options.out.resolve() or options.out.is_dir():
        raise UsageError(f"--out {options.out} is the source or a folder: give another file")
    if not options.out.parent.is_dir():
        raise UsageError(f"--out {options.out} is in no folder that exists: make it first")
    _require_replaceable(options.out, wanted)
    require_place(options.out, "--out")
    found, table, model, weights = _source(options)
    network = None
    if found is not wanted:
        network = describe(model, read=network_reader(weights)) if model is not None else None
        table = _named(found, wanted, table, network)
    convention = _convention(options, wanted, table if found is wanted else None)
    request = Request(table, convention or 127, network, options.names, options.out.suffix)
    if wanted is not DISTQ:
        request.warn_of_channels()
    data = wanted.write(request)
    warnings = [*table.warnings]
    if request.lost:
        warnings.append(f"{wanted.title} cannot say all: {'; '.join(request.lost)}")
    for warning in warnings:
        reporter.warn(warning)
    atomic_write(options.out, data)
    note = _note(options, wanted, convention, warnings)
    return ConvertResult(
        options.out,
        note,
        found.name,
        wanted.name,
        len(table.entries) or len(table.modes),
        len(table.weights),
        convention,
        tuple(warnings),
    )


def _require_replaceable(out: Path, wanted: Format) -> None:
    """Refuse to replace a file, unless it is a table of the same format.

    Raises:
        UsageError: it is something else, such as the network.
    """
    if not out.exists():
        return
    try:
        if recognise(load_content(out)) is wanted:
            return
    except FileFormatError:
        pass
    raise UsageError(f"--out {out} exists and is not {wanted.title}: give another file")


def _source(options: ConvertOptions) -> tuple[Format, ExchangeTable, Path | None, Path | None]:
    """The format, the table, and the network it is of and its weights, where they are known."""
    if not options.source.is_dir():
        require_undamaged(options.source)
        content = load_content(options.source)
        found, table = read_content(content, options.source_format, options.source_convention)
        return found, table, options.model, options.weights
    if options.source_format is not None:
        raise UsageError(f"{options.source} is a folder, so a run: leave --from out")
    run = read_run_table(RunDir(options.source), options.model, options.weights)
    return find_format("distq"), run.table, run.model, run.weights


def _named(found: Format, wanted: Format, table: ExchangeTable, network: Network | None) -> ExchangeTable:
    """The table with names of the user's network.

    Raises:
        FileFormatError: it has no thresholds, or no name of it is of the network.
    """
    if not table.entries:
        raise FileFormatError(f"{found.title} has no thresholds to write as {wanted.title}")
    rows = table.details if {found.name, wanted.name} <= {"distq", "csv"} else None
    if network is None:
        warnings = table.warnings
        if table.naming != "tensor":
            warnings += (f"names stay as {found.title} has them: --model MODEL gives those of its tensors",)
        return replace(table, warnings=warnings, details=rows)
    named = with_tensor_names(table, network)
    if not named.table.entries:
        raise FileFormatError(
            f"no name of the table is of the model, such as {listed(list(table.entries), 2)}: give its model"
        )
    warnings = named.table.warnings
    surplus = [name for name in named.surplus if found is not DISTQ or name in table.entries]
    if surplus:  # a run also names nodes that distq made of the user's
        names = listed(surplus)
        warnings += (f"left out, as the model has nothing of these names: {names}",)
    return replace(named.table, warnings=warnings, details=rows)


def _convention(options: ConvertOptions, wanted: Format, same: ExchangeTable | None) -> Convention | None:
    """The convention of what is written; None where scales or ranges leave no doubt.

    A table of the same format keeps its own.
    """
    if wanted.convention is None and options.convention is not None:
        raise UsageError(
            f"{wanted.title} has scales or ranges, which have no convention: leave --convention out"
        )
    return options.convention or (same.convention if same is not None else None) or wanted.convention


def _note(
    options: ConvertOptions, wanted: Format, convention: Convention | None, warnings: list[str]
) -> Path | None:
    """Write what the format has no place for beside it; a note of an earlier file goes."""
    note = options.out.with_name(options.out.name + NOTE)
    if convention is None or wanted.states_convention:
        note.unlink(missing_ok=True)
        return None
    lines = [
        f"{options.out.name}: {wanted.title}, written by distq from {options.source.name}",
        f"scale = threshold / {convention}",
        *warnings,
    ]
    atomic_write(note, ("\n".join(lines) + "\n").encode())
    return note
