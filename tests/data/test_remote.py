"""Lists, arrays, labels and images behind URLs."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest
from data_helpers import image_input

from distq.data.dataset import DatasetSpec, InputSpec, UnreadableSample
from distq.data.info import describe_source
from distq.data.manifest import manifest
from distq.errors import DataError, PreprocessError
from distq.urls import url_of

INPUTS = [image_input(3, 4, 6)]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Two photos, an array, and what lists and labels them."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), rng.integers(0, 256, (4, 6, 3), np.uint8))
    (tmp_path / "list.txt").write_text("photos/a.png 3\nphotos/b.png 4  # the other\n")
    (tmp_path / "labels.txt").write_text("a.png 7\nb.png 8\n")
    np.savez(tmp_path / "x.npz", x=rng.standard_normal((3, 5)).astype(np.float32))
    np.save(tmp_path / "x.npy", rng.standard_normal((3, 5)).astype(np.float32))
    return tmp_path


class Server(http.server.SimpleHTTPRequestHandler):
    """A folder over HTTP; what is called ``secret`` is refused."""

    def send_head(self) -> Any:
        if "secret" in self.path:
            self.send_error(403)
            return None
        return super().send_head()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def served(local: Path) -> Iterator[str]:
    """The same files over HTTP."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(local))) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def spec(url: str, inputs: list[InputSpec] | None = None, **files: str) -> DatasetSpec:
    """As a command makes it: options are paths."""
    paths = {name: Path(path) for name, path in files.items()}
    return DatasetSpec.create(Path(url), inputs or INPUTS, **paths)


def everything(described: DatasetSpec) -> list[tuple[str, int | None, bytes]]:
    opened = described.open()
    samples = [opened.load(index) for index in range(len(opened))]
    return [(s.name, s.label, b"".join(a.tobytes() for a in s.inputs.values())) for s in samples]


@pytest.mark.parametrize("place", ["memory", "served", "file"])
def test_what_lies_behind_a_url_is_what_lies_here(
    place: str, local: Path, request: pytest.FixtureRequest
) -> None:
    root = f"file://{local}" if place == "file" else request.getfixturevalue(place)
    rows = [InputSpec("x", (1, 5), "float32")]
    for name, inputs in (("list.txt", INPUTS), ("x.npz", rows), ("x.npy", rows)):
        here, there = spec(str(local / name), inputs), spec(f"{root}/{name}", inputs)
        assert there.source == f"{root}/{name}"
        assert everything(there) == everything(here)
        indices = range(len(here.open()))
        assert manifest(there, indices).sha256 == manifest(here, indices).sha256
        assert manifest(there, indices).source == f"{root}/{name}"
        assert describe_source(Path(there.source)).shapes == describe_source(local / name).shapes
        assert describe_source(Path(there.source)).bytes == describe_source(local / name).bytes
    labelled = spec(f"{root}/list.txt", labels=f"{root}/labels.txt")
    assert [label for _, label, _ in everything(labelled)] == [7, 8]


def test_a_list_here_may_name_urls_and_a_list_there_other_places(local: Path, memory: str) -> None:
    (local / "mixed.txt").write_text(f"{memory}/photos/b.png 1\nphotos/a.png 2\n")
    found = everything(spec(str(local / "mixed.txt")))
    assert [content for _, _, content in found] == [
        content for _, _, content in reversed(everything(spec(str(local / "list.txt"))))
    ]
    text = f"file://{local}/photos/a.png\n{local}/photos/b.png\nphotos/a.png\n"
    fsspec.filesystem("memory").pipe_file("/bucket/other.txt", text.encode())
    contents = [content for _, _, content in everything(spec(f"{memory}/other.txt"))]
    assert contents == [found[i][2] for i in (1, 0, 1)]


def test_arrays_named_in_a_list(memory: str) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/arrays.txt", b"x.npy 1\n")
    sample = spec(f"{memory}/arrays.txt", [InputSpec("x", (3, 5), "float32")]).open().source.read(0)[0]
    assert sample.array.shape == (3, 5)


def test_the_manifest_knows_the_content_behind_a_url(memory: str) -> None:
    listed = spec(f"{memory}/list.txt")
    before = manifest(listed, range(2))
    storage = fsspec.filesystem("memory")
    storage.pipe_file("/bucket/photos/a.png", storage.cat_file("/bucket/photos/b.png"))
    assert manifest(listed, range(2)).sha256 != before.sha256
    assert len(before.sha256) == len(hashlib.sha256().hexdigest())


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs"), ("abfs", "adlfs")]
)
def test_a_missing_package_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"{scheme}://b/l.txt needs a package .*: pip install {package}"):
        spec(f"{scheme}://b/l.txt").open()


def test_a_missing_package_is_no_unreadable_image(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    (local / "list.txt").write_text("s3://bucket/a.png\n")
    with pytest.raises(DataError, match="pip install s3fs") as error:
        manifest(spec(str(local / "list.txt")), range(1))
    assert not isinstance(error.value, UnreadableSample)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.txt", r"/nowhere\.txt does not exist: check the URL"),
        ("secret.npz", r"/secret\.npz cannot be read: ClientResponseError: 403"),
        ("photos/a.png", r"/photos/a\.png is no UTF-8 text list.*: give the folder that holds it"),
        ("labels.npz", r"/labels\.npz does not exist"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(path: str, reason: str, served: str) -> None:
    with pytest.raises(DataError, match=f"{served}{reason}") as error:
        spec(f"{served}/{path}").open()
    assert "\n" not in str(error.value)


def test_no_permission(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> bytes:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(DataError, match=r"/list\.txt must not be read \(Access Denied\): check the cred"):
        spec(f"{memory}/list.txt").open()


def test_an_unreadable_image_may_be_left_out(served: str, local: Path) -> None:
    (local / "list.txt").write_text("photos/a.png\nsecret.png\nnone.png\n")
    opened = spec(f"{served}/list.txt").open()
    assert opened.load(0).name == "photos/a.png"
    for index in (1, 2):
        with pytest.raises(UnreadableSample) as error:
            opened.load(index)
        assert error.value.index == index
    assert manifest(spec(f"{served}/list.txt"), range(3)).selected == 3


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///tmp", "file:///tmp is a folder: give a list or array"),
        ("nonsense://x/list.txt", "Protocol not known: nonsense; give a path, or a URL"),
        ("memory://a::file://b/list.txt", "chains several URLs"),
    ],
)
def test_urls_that_are_none(url: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        spec(url).open()


def test_plug_ins_take_files_of_this_machine(memory: str, local: Path) -> None:
    (local / "plugin.py").write_text("def image_preprocess(img_path, norm=True):\n    return img_path\n")
    described = DatasetSpec.create(
        Path(f"{memory}/list.txt"), INPUTS, preprocess=local / "plugin.py", allow_code=True
    )
    with pytest.raises(PreprocessError, match="takes files of this machine"):
        described.open().load(0)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        ("S3://bucket/a b", "s3://bucket/a b"),
        ("file:///tmp/x", "file:///tmp/x"),
        ("relative/s3:/x", None),
        ("/absolute/path", None),
        ("C:/photos", None),
        ("list.txt", None),
    ],
)
def test_a_url_survives_being_a_path(given: str, url: str | None) -> None:
    assert url_of(Path(given)) == url_of(given) == url
