from __future__ import annotations

import pytest

from distq.engine.blas import blas_threads, one_blas_thread


def test_one_thread_inside_and_as_many_as_before_after() -> None:
    before = blas_threads()
    if before is None:
        pytest.skip("the linear algebra library of this numpy is not known")
    with one_blas_thread():
        assert blas_threads() == 1
    assert blas_threads() == before


def test_the_threads_come_back_after_an_error() -> None:
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert blas_threads() == before
