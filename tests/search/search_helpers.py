"""What the tests of searches share: score functions, and loops that drive a search."""

import random

import numpy as np


def constant(diff, images=1):
    return np.full(images, float(diff))


def drive(search, score):
    """Score everything asked for, on the images asked for; returns what was asked: (threshold, images)."""
    asked = []
    while pending := search.ask():
        wanted = search.wanted_images
        asked += [(threshold, wanted) for threshold in pending]
        search.tell({threshold: score(threshold)[:wanted] for threshold in pending})
    return asked


def drive_in_pieces(search, score, rng):
    """As a cluster would: some of what is asked comes back, in any order, before more is asked."""
    while pending := search.ask():
        some = rng.sample(pending, rng.randint(1, len(pending)))
        search.tell({threshold: score(threshold)[: search.wanted_images] for threshold in some})


def drive_with_all_images(search, score):
    """Score every candidate on all images at once, also where fewer were asked for."""
    while pending := search.ask():
        search.tell({threshold: score(threshold) for threshold in pending})


def rough_curve(seed, levels, images=1):
    """A score that depends on nothing but the threshold; few levels make many ties."""

    def score(threshold):
        rng = random.Random(f"{seed} {threshold!r}")  # noqa: S311  # no secret
        return np.array([rng.randint(0, levels) / 7 for _ in range(images)])

    return score


def distinct(asked):
    """Thresholds that were asked for, each once."""
    return list(dict.fromkeys(threshold for threshold, _ in asked))
