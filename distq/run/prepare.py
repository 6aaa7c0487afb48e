"""Prepare the network of a run: load it, place its quantizers, and find wrong options early."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from distq.calibration.distributions import DistributionSet
from distq.config import LAYER_OPTIONS, CalibrateOptions, LayerOptions, TuneOptions, require_bins
from distq.engine.progress import Reporter
from distq.errors import FileFormatError, UsageError
from distq.exchange.given import read_given
from distq.exchange.model_file import network_reader
from distq.files import require_place
from distq.graph.depthwise import in_float_by_table, require_channels
from distq.graph.input_shapes import with_shapes
from distq.graph.input_values import with_values
from distq.graph.load import LoadedModel, load_model
from distq.graph.placement import make_plan
from distq.graph.plan import Plan
from distq.graph.resolve import resolve_names
from distq.graph.rows import channels_of, given_table
from distq.options import on_command_line
from distq.quant.table import Table
from distq.run.configured import wide_tensors
from distq.run.entries import read_entries
from distq.run.identity import set_by_layer
from distq.run.layer_settings import formed, with_thresholds
from distq.run.least_cache import too_small
from distq.run.rundir import RunDir
from distq.run.seal import require_undamaged
from distq.targets import find_target
from distq.targets.target import Target

LOADED_BY = ("model", "weights", "input_shape", "input_value")
"""Options that decide what is loaded."""

SHOWN_NODES = 2000
"""From so many on it takes seconds to load a model."""


def prepare_shown(options: CalibrateOptions, reporter: Reporter) -> tuple[LoadedModel, Plan]:
    """The prepared model; loading a large one is shown as a stage, too small a --cache-memory is said."""
    counted = 0

    def show(nodes: int) -> None:
        nonlocal counted
        if nodes >= SHOWN_NODES:
            counted = nodes
            reporter.start("load and plan", nodes, "nodes")

    prepared = prepare_model(options, on_nodes=show)
    if counted:
        reporter.advance(counted)
        reporter.finish()
    too_little = too_small(options.cache_memory, prepared[0].model)
    if too_little is not None:
        reporter.warn(too_little)
    return prepared


def load_as_given(
    options: CalibrateOptions, without: Collection[str] = (), on_nodes: Callable[[int], object] = int
) -> LoadedModel:
    """The model, before what is set for its layers.

    Args:
        options: of the command; those of ``LOADED_BY`` count.
        without: steps of loading to leave out.
        on_nodes: is told how many nodes the file has, before most of the work.

    Raises:
        InputError: it cannot be used.
    """
    read = with_shapes(network_reader(options.weights), dict(options.input_shape))
    read = with_values(read, dict(options.input_value))
    return load_model(options.model, without, read, on_nodes)


def prepare_model(
    options: CalibrateOptions,
    without: Collection[str] = (),
    on_nodes: Callable[[int], object] = int,
    loaded: LoadedModel | None = None,
) -> tuple[LoadedModel, Plan]:
    """Load the model and place its quantizers; wrong options are found before anything is computed.

    Args:
        options: of the command.
        without: steps of loading to leave out.
        on_nodes: is told how many nodes the file has, before most of the work.
        loaded: the model where it is loaded already.

    Raises:
        InputError: the model or an option cannot be used.
    """
    require_bins(options.bins)
    if options.table is not None and options.load_dist is not None:
        raise UsageError("--table and --load-dist both give thresholds: leave one out")
    if options.dump_dist is not None:
        require_writable(options, options.dump_dist)
    entries = read_entries(options.layer_config, options.model, options.method)
    loaded = loaded or load_as_given(options, without, on_nodes)
    bitmain = isinstance(options, TuneOptions) and options.strategy == "bitmain"
    target = find_target(options.target, options.weight_bits)
    loaded, settings = formed(loaded, options, entries, target)
    model = loaded.model
    plan = make_plan(model, target, options.scheme, tie=not bitmain, settings=settings)
    wide, notes = wide_tensors(options.input_config, model, plan)
    loaded = replace(loaded, notes=(*loaded.notes, *notes))
    wide = (*resolve_names(model, plan, options.int16_layers, "--int16-layers"), *wide)
    settings, wide = with_thresholds(model, plan, entries, wide)
    given = None
    if options.table is not None:
        require_undamaged(options.table)
        given = read_given(options.table, loaded.path, plan, loaded.read)
        if takes_channel_scales(options, target):
            floats = (*settings.floats, *in_float_by_table(model, plan, given.rows))
            settings = replace(settings, channels=channels_of(given.rows), floats=floats)
    if wide or settings != plan.settings:
        plan = make_plan(model, target, options.scheme, tie=not bitmain, int16=wide, settings=settings)
    require_undamaged(options.load_dist)
    if options.table is not None and given is not None and given.own:
        _require_rows(options, options.table, given.rows, plan)
        require_channels(model, plan, str(options.table))
    return loaded, plan


def takes_channel_scales(options: LayerOptions, target: Target) -> bool:
    """Whether channels in front of depthwise layers may have scales of their own."""
    return target.channel_scales != "none" and options.channel_scales is not False


def _require_rows(options: CalibrateOptions, table: Path, rows: Table, plan: Plan) -> None:
    """Find out early whether a table of distq's has a row for every quantizer of this network.

    Raises:
        FileFormatError: it has not, or it is of another network.
        UsageError: it is of a run with another target, with layers left in float, or of a network whose
            channels were evened out.
    """
    if any(row.has_headroom for row in rows.values()):
        raise UsageError(
            f"{table} is of a network whose channels were evened out, not of the one that was given: "
            f"take the {RunDir(table.parent).calibrated.name} beside it, or that of a run with --no-equalize"
        )
    try:
        given_table(plan, rows)
    except FileFormatError:
        job = job_of(table)
        own = job.get("target", plan.target.name)
        if own != plan.target.name:
            raise UsageError(f"{table} is of a run with --target {own}: give --target {own}") from None
        others = dict(set_by_layer(options))
        for name in LAYER_OPTIONS:
            if name not in {"layer_config", "channel_scales"} and job.get(name) != others.get(name):
                raise UsageError(
                    f"{table} is of a run with another {on_command_line(name)}, which decides what has a "
                    "threshold: give the same"
                ) from None
        if job.get("float_budget"):
            raise UsageError(
                f"{table} has no thresholds of the layers that --float-budget left in float: "
                f"take the {RunDir(table.parent).calibrated.name} beside it"
            ) from None
        raise


def job_of(table: Path) -> dict[str, Any]:
    """The job of the run in whose folder a table lies; empty where it lies elsewhere."""
    try:
        return RunDir(table.parent).identity()
    except UsageError:
        return {}


def require_writable(options: CalibrateOptions, dump: Path) -> None:
    """Find out early whether there will be distributions to dump, and a place for them.

    Raises:
        UsageError: there will not.
    """
    if options.table is not None:
        raise UsageError("--table leaves nothing to observe for --dump-dist: leave one out")
    if (dump.exists() and not dump.is_file()) or not dump.parent.is_dir():
        raise UsageError(f"--dump-dist {dump} cannot be written: give a file in a folder that exists")
    require_place(dump, "--dump-dist")
    if dump.exists():
        try:
            DistributionSet.load(dump)
        except FileFormatError:
            raise UsageError(
                f"--dump-dist {dump} exists and holds no distributions: give another file"
            ) from None
