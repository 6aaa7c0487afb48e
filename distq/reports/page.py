"""The page: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from distq.files import atomic_write
from distq.reports.facts import RunFacts, SweepLine
from distq.reports.html import element, text
from distq.reports.views.budget import budget
from distq.reports.views.goal import goal
from distq.reports.views.layers import layers
from distq.reports.views.samples import samples
from distq.reports.views.settings import settings
from distq.reports.views.sweep import sweep
from distq.reports.views.tensor import tensor_details
from distq.reports.views.tensors import tensors
from distq.reports.views.verdict import verdict
from distq.reports.views.weights import weights


def write_page(runs: Sequence[RunFacts], out: Path) -> None:
    """Write the page of one or several runs; a file that is there is replaced.

    Raises:
        ExecutionError: it cannot be written.
    """
    atomic_write(out, page(runs).encode())


def page(runs: Sequence[RunFacts], of_sweep: Sequence[SweepLine] = ()) -> str:
    """The page of runs: its views, with style sheet and script in it.

    Args:
        runs: to show in full, at least one.
        of_sweep: all runs of the sweep that they are of.
    """
    names = _tensor_names(runs)
    views = {
        "Sweep": sweep(of_sweep),
        "Verdict": verdict(runs),
        "Goal": goal(runs),
        "Which tensors matter": layers(runs, names),
        "Tensors": tensors(runs, names),
        "One tensor": tensor_details(runs, names),
        "Samples": samples(runs),
        "Weights": weights(runs),
        "Budget": budget(runs),
        "Settings": settings(runs),
    }
    anchors = (
        "sweep",
        "verdict",
        "goal",
        "layers",
        "tensors",
        "tensor",
        "samples",
        "weights",
        "budget",
        "settings",
    )
    links = [
        element("a", text(title), href=f"#{anchor}")
        for (title, view), anchor in zip(views.items(), anchors, strict=True)
        if view
    ]
    networks = dict.fromkeys(Path(str(run.record.get("model", {}).get("path", ""))).name for run in runs)
    title = f"{', '.join(filter(None, networks))}: {', '.join(run.label for run in runs)}".removeprefix(": ")
    return Template(_asset("page.html")).substitute(
        title=text(title),
        style=_asset("page.css"),
        script=_asset("page.js"),
        links="".join(links),
        views="\n".join(views.values()),
    )


def _tensor_names(runs: Sequence[RunFacts]) -> dict[str, str]:
    """Tensors of all runs in the order of the first run that has them, and the anchor of each."""
    names = dict.fromkeys(tensor.name for run in runs for tensor in run.tensors)
    return {name: f"t{number}" for number, name in enumerate(names)}


def _asset(name: str) -> str:
    return (files("distq.reports") / "assets" / name).read_text(encoding="utf-8")
