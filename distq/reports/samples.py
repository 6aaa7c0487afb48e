"""The held-out samples that the exported model answers worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.reports.facts import HeldOut, SampleFacts
from distq.reports.places import on_picture
from distq.reports.thumbnails import pictures
from distq.search.metrics import ImageStatistics, decibels, per_image_diff, total_power

WORST = 12


def worst_samples(
    found: HeldOut | None, manifest: Mapping[str, Any], preprocessing: object, *, images: bool
) -> tuple[SampleFacts, ...]:
    """The samples with the largest parts of the error, the worst first; none where they are not known.

    Args:
        found: all held-out samples.
        manifest: what ``run.json`` says of their source.
        preprocessing: what it says of that.
        images: with pictures of them.
    """
    if found is None or found.samples is None:
        return ()
    exported = "after" if "after" in found.statistics else "before"
    final = found.statistics[exported]
    shares = per_image_diff(final.error, total_power(final))
    total = float(shares.sum())
    if not np.isfinite(total) or total <= 0:
        return ()
    order = np.argsort(-shares, kind="stable")[:WORST].tolist()
    looks = pictures(manifest, [found.samples[i] for i in order], images=images, large=bool(found.boxes))
    by_stage = {stage: _sqnr(statistics) for stage, statistics in found.statistics.items()}
    return tuple(
        SampleFacts(
            look=look,
            sqnr_db={stage: values[i] for stage, values in by_stage.items()},
            share=float(shares[i]) / total,
            right={stage: bool(hits[i]) for stage, hits in found.top1.items() if hits[i] >= 0},
            boxes={
                name: placed
                for name in (exported, "float")
                if name in found.boxes
                and (placed := on_picture(found.boxes[name][i], preprocessing, look.size)) is not None
            },
        )
        for i, look in zip(order, looks, strict=True)
    )


def _sqnr(statistics: ImageStatistics) -> list[float]:
    """Of each sample by itself, in dB."""
    power: npt.NDArray[np.float64] = np.where(statistics.power > 0, statistics.power, 1.0)
    return [decibels(float(noise)) for noise in np.mean(statistics.error / power, axis=1)]
