"""Which run a person means: what is said of a folder that is none, such as that of a sweep."""

from __future__ import annotations

from typing import Any

from distq.errors import UsageError
from distq.run.rundir import RunDir

_MOST_NAMED = 5


def require_run(rundir: RunDir, wanted: str = "the --out of calibrate, tune or auto") -> None:
    """Refuse a folder that is no run; of a sweep or a cascade, also one that goes on, its runs are named.

    Args:
        rundir: the folder.
        wanted: what to give in its place.

    Raises:
        UsageError: it is none.
    """
    if rundir.run.is_file():
        return
    inside = [str(path.parent) for path in sorted(rundir.path.glob("*/run.json"))]
    if not inside:
        raise UsageError(f"{rundir.path} is not a run of distq: give {wanted}")
    more = ", ..." if len(inside) > _MOST_NAMED else ""
    raise UsageError(
        f"{rundir.path} is not a run but has some in it: give one, {', '.join(inside[:_MOST_NAMED])}{more}"
    )


def job_of_run(rundir: RunDir) -> dict[str, Any]:
    """The job of a run that someone only looks at.

    Raises:
        UsageError: it is no run, or its ``run.json`` is damaged.
    """
    require_run(rundir)
    try:
        return rundir.identity()
    except UsageError:
        raise UsageError(f"{rundir.run} is damaged, or not of a run of distq: give another run") from None
