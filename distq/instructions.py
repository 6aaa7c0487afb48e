"""The processor's integer instructions, which decide the bits of integer kernels."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


def integer_instructions() -> str:
    """The processor's integer instruction set that decides the bits of integer kernels."""
    flags = _cpu_flags()
    for name, flag in (
        ("avx512_vnni", "avx512_vnni"),
        ("avx_vnni", "avx_vnni"),
        ("avx512", "avx512bw"),
        ("avx2", "avx2"),
        ("neon_dot", "asimddp"),
    ):
        if flag in flags:
            return f"{platform.machine()} {name}"
    return platform.machine()


def has_exact_integer_kernels() -> bool:
    """Whether uint8 x int8 products accumulate without saturating: not so on AVX2 and AVX512 without VNNI."""
    name = integer_instructions()
    return "vnni" in name or not name.startswith(("x86_64", "AMD64"))


@cache
def _cpu_flags() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return frozenset()
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()
