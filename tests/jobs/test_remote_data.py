"""Jobs on data behind URLs."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from job_helpers import bits, read_json, use_watched, write_photos

import distq
from distq.errors import InterruptedRun, UsageError
from distq.jobfile import load_job


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A list of photos, and labels of them."""
    write_photos(tmp_path / "photos", 10)
    (tmp_path / "list.txt").write_text("".join(f"photos/{number}.png\n" for number in range(10)))
    (tmp_path / "labels.txt").write_text("".join(f"{number}.png {number % 6}\n" for number in range(10)))
    return tmp_path


@pytest.fixture
def served(local: Path) -> Iterator[str]:
    """The same over HTTP, as other processes see it too."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            pass

    handler = functools.partial(Quiet, directory=str(local))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def options(root: str, model: Path, out: Path) -> dict[str, Any]:
    return {
        "model": model,
        "out": out,
        "samples": 6,
        "holdout": 3,
        **dict.fromkeys(("data", "holdout_data"), f"{root}/list.txt"),
        "labels": f"{root}/labels.txt",
    }


def test_workers_read_urls_for_themselves(
    served: str, local: Path, model: Path, tmp_path: Path, ray_session: None
) -> None:
    del ray_session
    here = distq.calibrate(**options(str(local), model, tmp_path / "here"), executor="local")
    there = distq.calibrate(**options(served, model, tmp_path / "there"), executor="ray", workers=2)
    assert bits(there.out) == bits(here.out)
    assert (there.tuning, there.holdout) == (here.tuning, here.holdout)
    records = [read_json(result.out / "run.json") for result in (here, there)]
    assert records[1]["data"] == {**records[0]["data"], "source": f"{served}/list.txt"}
    assert records[1]["options"]["data"] == f"{served}/list.txt"


def test_memory_is_for_the_local_executor(memory: str, local: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{memory}/list.txt is in the memory .*: give --executor local"):
        distq.calibrate(**options(memory, model, tmp_path / "run"))
    found = distq.calibrate(**options(memory, model, tmp_path / "run"), executor="local")
    here = distq.calibrate(**options(str(local), model, tmp_path / "here"), executor="local")
    assert bits(found.out) == bits(here.out)


@pytest.mark.parametrize(
    ("name", "field"), [("photos/2.png", "data"), ("photos/7.png", "holdout"), ("labels.txt", "labels")]
)
def test_other_content_behind_a_url_is_another_job(
    *, name: str, field: str, memory: str, model: Path, tmp_path: Path
) -> None:
    storage = fsspec.filesystem("memory")
    given = {**options(memory, model, tmp_path / "run"), "executor": "local"}
    given.pop("holdout_data")
    with pytest.MonkeyPatch.context() as patch:
        use_watched(patch, [], stop_after=1)
        with pytest.raises(InterruptedRun):
            distq.calibrate(**given)
    other = b"9.png 1\n" if name == "labels.txt" else storage.cat_file("/bucket/photos/9.png")
    storage.pipe_file(f"/bucket/{name}", other)
    with pytest.raises(UsageError, match=f"its {field} is"):
        distq.calibrate(**given, resume=True)


def test_a_job_file_may_name_urls(memory: str, local: Path) -> None:
    (local / "job.yaml").write_text(f"command: calibrate\nmodel: m.onnx\ndata: {memory}/list.txt\nout: run\n")
    job = load_job(local / "job.yaml").options
    assert job == distq.config.CalibrateOptions(
        model=local / "m.onnx", data=Path(f"{memory}/list.txt"), out=local / "run"
    )
