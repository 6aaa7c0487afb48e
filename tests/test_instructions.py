"""What the processor is called, and whether its integer kernels are exact."""

from __future__ import annotations

import re

import pytest

from distq import instructions
from distq.instructions import has_exact_integer_kernels, integer_instructions


def test_the_processor_is_described_by_architecture_and_instructions():
    assert re.fullmatch(r"[A-Za-z0-9_]+( [a-z0-9_]+)?", integer_instructions())


@pytest.mark.parametrize(
    ("flags", "machine", "described", "exact"),
    [
        ({"avx2", "avx512bw", "avx512_vnni"}, "x86_64", "x86_64 avx512_vnni", True),
        ({"avx2", "avx_vnni"}, "x86_64", "x86_64 avx_vnni", True),
        ({"avx2", "avx512bw"}, "x86_64", "x86_64 avx512", False),
        ({"avx2"}, "x86_64", "x86_64 avx2", False),
        ({"asimddp"}, "aarch64", "aarch64 neon_dot", True),
        (set(), "aarch64", "aarch64", True),
    ],
)
def test_processors_whose_kernels_may_saturate_are_known(monkeypatch, flags, machine, described, exact):
    monkeypatch.setattr(instructions, "_cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(instructions.platform, "machine", lambda: machine)
    assert integer_instructions() == described
    assert has_exact_integer_kernels() == exact
