"""One BLAS thread while a unit runs, so that linear algebra gives the same bits in every process.

A matrix product cut over two threads adds in another order than over one: of ``a @ a.T``, a being float32 of
700x900, 17,622 of 490,000 entries differed. Ray sets OMP_NUM_THREADS in its actors, nobody does in the
driver.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

# set and get, as OpenBLAS in numpy's wheels, a distribution's OpenBLAS, MKL and BLIS export them
_CONTROLS = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("bli_thread_set_num_threads", "bli_thread_get_num_threads"),
)


_lock = threading.Lock()
_inside: list[int] = []  # threads there were before, once for each block that is entered


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run numpy's linear algebra on one thread inside the block.

    The library behind numpy is told directly: environment variables count only when numpy is first imported.
    Where it is none of those known here (Accelerate on macOS), nothing is changed.
    """
    controls = _controls()
    if controls is None:
        yield
        return
    set_threads, get_threads = controls
    with _lock:
        if not _inside:
            _inside.append(get_threads())
        else:
            _inside.append(_inside[0])
        set_threads(1)
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:  # of several threads in the block the last one
                set_threads(before)


def blas_threads() -> int | None:
    """How many threads numpy's linear algebra takes, None where the library is unknown."""
    controls = _controls()
    return None if controls is None else controls[1]()


@cache
def _controls() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    # a symbol looked up in numpy's extension module is also searched in the libraries it was linked with
    library = ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    for set_name, get_name in _CONTROLS:
        if hasattr(library, set_name) and hasattr(library, get_name):
            set_threads, get_threads = library[set_name], library[get_name]
            set_threads.argtypes, set_threads.restype = [ctypes.c_int], None
            get_threads.argtypes, get_threads.restype = [], ctypes.c_int
            return set_threads, get_threads
    return None
