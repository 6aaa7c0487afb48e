"""The tables of peers.py, between their markers in docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from networks import BY_NAME, NETWORKS

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
FAMILIES = ("ONNX Runtime", "NNCF", "NNCF per channel", "Quark")

AGREEMENT = {
    "top-1": "same top-1 as float",
    "faces": "boxes shared with float",
    "objects": "boxes shared with float",
    "peak": "same peak as float",
}


@dataclass(frozen=True)
class Row:
    """What one quantizer made of one network; ``figures`` is what peers_measure.py printed."""

    network: str
    name: str
    tool: str
    settings: str
    symmetric: bool
    version: str
    seconds: float
    peak_mib: float
    failed: str | None
    figures: dict[str, float]

    @property
    def sqnr_db(self) -> float | None:
        """SQNR on held-out samples; None where there is no model."""
        return self.figures.get("sqnr_db")

    def line(self) -> str:
        """One line for the terminal."""
        outcome = f"{self.sqnr_db:6.2f} dB" if self.sqnr_db is not None else f"failed: {self.failed}"
        return f"{self.network:24} {self.name:34} {self.seconds:6.1f} s {self.peak_mib:6.0f} MiB  {outcome}"


def write_report(document: Path, rows: Sequence[Row], versions: str) -> None:
    """Put the tables between the markers; a document without them gets them at its end."""
    text = document.read_text(encoding="utf-8") if document.exists() else "# Benchmarks\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n{report(rows, versions)}\n{END}{after}", encoding="utf-8")


def report(rows: Sequence[Row], versions: str) -> str:
    """The whole section."""
    packages = ", ".join(
        line.replace("==", " ") for line in versions.splitlines() if line and not line.startswith("#")
    )
    sources = sorted({row.version for row in rows if row.tool == "distq"})
    today = dt.datetime.now().astimezone().date()
    parts = [
        "## Closer: public quantizers side by side",
        (
            f"`.venv/bin/python scripts/benchmarks/peers.py --data DATA`, {today}, {machine()}; {packages}, "
            f"Python {platform.python_version()}; hash of distq's sources {', '.join(sources)}."
        ),
        EXPLANATION,
        summary(rows),
    ]
    for network in NETWORKS:
        own = [row for row in rows if row.network == network.name]
        if own:
            parts.append(f"### {network.name}\n\n{details(own)}")
    return "\n\n".join(parts)


EXPLANATION = """\
128 calibration samples (40 for the two-input head) as distq's data layer decodes them, fed to everyone as the
same arrays; int8 weights per channel, 8-bit activations per tensor; the peers start from the folded model at
opset 13, distq from the file. SQNR is over held-out samples, in dB, averaged over the network outputs before
the logarithm. Every model is run by plain ONNX Runtime with its default options, WeightBiasQuantization off:
it would quantize weights a quantizer left in float. The share of boxes is twice those that match at IoU 0.5
over the boxes of both models (RFB-320: score over 0.7, NMS 0.3; YOLOX: score over 0.3, NMS 0.5 by class).
Seconds and peak memory are of the whole process, its start, its imports and the calibration arrays included;
distq runs with `--executor local`, in one process. ONNX Runtime's Percentile takes 8 samples at a time
(`CalibStridedMinMax`); by default it keeps every activation of all samples.

NNCF by itself gives each tensor that a depthwise convolution reads a scale for every channel: a finer
granularity than everyone else's, which ONNX Runtime's integer kernels do not take and few devices have. Those
rows are called "NNCF per channel"; the rows called NNCF are told `per_channel=False`. Its preset performance
still takes uint8 with zero point 0 for tensors that are never negative, so "symmetric int8" means ONNX
Runtime's and Quark's. * marks a model that ONNX Runtime runs only with its Q and DQ as written."""


def summary(rows: Sequence[Row]) -> str:
    """The best of each tool, in dB, and distq's commands by target."""
    ours = list(dict.fromkeys(row.settings for row in rows if row.tool == "distq"))
    header = ["network", *FAMILIES, "best symmetric int8", *(f"`{settings}`" for settings in ours)]
    table = []
    for network in NETWORKS:
        own = [row for row in rows if row.network == network.name]
        peers = [row for row in own if row.tool != "distq"]
        best = max((row.sqnr_db for row in peers if row.sqnr_db is not None), default=None)
        cells = [best_of(row for row in peers if row.tool == tool) for tool in FAMILIES]
        figures = [
            *(bold(value) if value is not None and value == best else decibels(value) for value in cells),
            decibels(best_of(row for row in peers if row.symmetric)),
            *(decibels(best_of(r for r in own if r.tool == "distq" and r.settings == s)) for s in ours),
        ]
        if own:
            table.append([network.name, *figures])
    return markdown(header, table)


def details(rows: Sequence[Row]) -> str:
    """Every row of one network, and the reasons of those that failed."""
    judge = BY_NAME[rows[0].network].judge
    classified = any("top1" in row.figures for row in rows)
    header = ["tool", "settings", "SQNR, dB", AGREEMENT[judge], *(["top-1"] if classified else [])]
    table = [
        [
            row.tool,
            f"`{row.settings}`" if row.tool == "distq" else row.settings,
            decibels(row.sqnr_db) + ("*" if row.figures.get("literal") else ""),
            percent(row.figures.get("agreement")),
            *([percent(row.figures.get("top1"))] if classified else []),
            f"{row.seconds:.0f}",
            f"{row.peak_mib:.0f}",
        ]
        for row in rows
    ]
    text = markdown([*header, "seconds", "peak MiB"], table)
    for row in rows:
        if "top1_float" in row.figures:
            text += f"\n\nFloat top-1: {percent(row.figures['top1_float'])}."
            break
    failures = [f"* {row.tool}, {row.settings}: {row.failed}" for row in rows if row.failed]
    return text + ("\n\nFailed:\n\n" + "\n".join(failures) if failures else "")


def best_of(rows: Iterable[Row]) -> float | None:
    """Highest SQNR; None where no row has one."""
    return max((row.sqnr_db for row in rows if row.sqnr_db is not None), default=None)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column to the left, the rest as the reader's renderer likes."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def bold(value: float) -> str:
    return f"**{value:.1f}**"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def machine() -> str:
    """Kind of machine: cores, architecture, and the integer instructions that matter here."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8") if path.exists() else ""
    kind = "AVX512-VNNI" if "avx512_vnni" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{os.cpu_count()} {platform.machine()} cores, {kind}"
