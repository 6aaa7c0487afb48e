"""One attempt at a unit on a worker: what both executors do, in the driver's process or in an actor's."""

from __future__ import annotations

import traceback

from distq.engine.blas import one_blas_thread
from distq.engine.executor import Unit
from distq.errors import DistqError, ExecutionError
from distq.memory import is_out_of_memory, out_of_memory
from distq.replica.worker import Arrays, Worker


def attempt(unit: Unit, worker: Worker) -> Arrays | DistqError:
    """Run a unit; its error is returned, not raised, so that it travels to the driver like a result.

    Returns:
        The unit's arrays; the DistqError it raised, unchanged; or, for any other exception, an ExecutionError
        naming the unit, with the traceback as its note. Units are pure: no error is worth a second attempt.
    """
    try:
        with one_blas_thread():
            try:
                return unit.run(worker)
            finally:
                worker.end_what_runs()
    except DistqError as error:
        return error
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in may raise anything, or call sys.exit
        return unexpected(unit.label, error)


def unexpected(label: str, error: BaseException) -> ExecutionError:
    """The error of a unit that raised something distq does not raise on purpose, or ran out of memory."""
    if is_out_of_memory(error):
        return ExecutionError(out_of_memory(label, error))
    message = " ".join(str(error).split()) or "no message"
    failure = ExecutionError(
        f"{label}: {type(error).__name__}: {message} "
        "(a fault in distq or in a plug-in; what is finished is kept)"
    )
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


def too_slow(label: str, seconds: float, attempts: int) -> ExecutionError:
    """The error of a unit that did not end in time in any of its attempts."""
    return ExecutionError(
        f"{label}: no answer within --unit-timeout {seconds:g} s in each of {attempts} attempts: look for a "
        "storage that does not answer, a plug-in or a loop that does not end, or give it more time"
    )
