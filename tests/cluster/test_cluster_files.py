"""The files in cluster/: fields that their readers know, versions that agree, token on, dashboard private."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

import distq

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLUSTER = ROOT / "cluster"
FIELDS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "kubernetes_fields.yaml").read_text())
MANIFESTS = sorted((CLUSTER / "kubernetes").glob("*.yaml"))
VIRTUAL_MACHINES = sorted((CLUSTER / "vm").glob("*.yaml"))
PLAIN = {"string": str, "integer": int, "boolean": bool, "number": int | float}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def wrong_fields(value: object, kind: Any, where: str) -> list[str]:
    """What of a manifest is no field, or not of its type."""
    if isinstance(kind, str) and kind.endswith(" array"):
        items = value if isinstance(value, list) else None
        parts = [(item, kind.removesuffix(" array"), f"{where}[]") for item in items or ()]
        return [f"{where} is no list"] if items is None else every_wrong_field(parts)
    if isinstance(kind, str) and kind in FIELDS:
        if not isinstance(value, dict):
            return [f"{where} is no mapping"]
        unknown = [f"{where}.{name} is unknown" for name in value if name not in FIELDS[kind]]
        known = {name: content for name, content in value.items() if name in FIELDS[kind]}
        return unknown + every_wrong_field(
            (content, FIELDS[kind][name], f"{where}.{name}") for name, content in known.items()
        )
    return [] if fits(value, kind) else [f"{where} is no {kind}"]


def every_wrong_field(parts: Iterable[tuple[object, Any, str]]) -> list[str]:
    return [line for value, kind, where in parts for line in wrong_fields(value, kind, where)]


def fits(value: object, kind: Any) -> bool:
    if isinstance(kind, list):
        return value in kind
    if kind in PLAIN:
        return isinstance(value, PLAIN[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not isinstance(value, dict):
        return False
    if kind == "quantities":
        return all(QUANTITY.fullmatch(str(x)) for x in value.values())
    return kind == "map" and all(isinstance(x, str) for x in value.values())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def cluster_spec(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    return spec.get("rayClusterSpec", spec)


def ray_start_lines(path: Path) -> list[str]:
    content = load(path)
    lines = [*content["head_start_ray_commands"], *content["worker_start_ray_commands"]]
    return [line for line in lines if "ray start" in line]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_has_fields_that_kubernetes_and_kuberay_know(path: Path) -> None:
    manifest = load(path)
    assert wrong_fields(manifest, manifest["kind"], manifest["kind"]) == []


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        (("spec", "entryPoint"), "x", "RayJob.spec.entryPoint is unknown"),
        (("spec", "backoffLimit"), "2", "RayJob.spec.backoffLimit is no integer"),
        (("spec", "submissionMode"), "K8s", "RayJob.spec.submissionMode is no ['K8sJobMode'"),
        (("spec", "rayClusterSpec", "authOptions", "token"), "x", "authOptions.token is unknown"),
        (("spec", "rayClusterSpec", "workerGroupSpecs"), {}, "workerGroupSpecs is no list"),
    ],
)
def test_a_mistake_in_a_manifest_would_be_seen(place: tuple[str, ...], value: object, line: str) -> None:
    manifest = load(CLUSTER / "kubernetes" / "rayjob.yaml")
    holder = manifest
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    (found,) = wrong_fields(manifest, "RayJob", "RayJob")
    assert line in found


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_a_kubernetes_cluster_asks_for_its_token_and_is_not_exposed(name: str) -> None:
    spec = cluster_spec(load(CLUSTER / "kubernetes" / name))
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in spec["headGroupSpec"]


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_versions_are_those_that_are_tested(name: str) -> None:
    spec = cluster_spec(load(CLUSTER / "kubernetes" / name))
    assert f"ray=={spec['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == f"distq:{distq.__version__}"
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in group["template"]["spec"]["volumes"]}


@pytest.mark.parametrize("path", VIRTUAL_MACHINES, ids=lambda path: path.name)
def test_a_cluster_of_virtual_machines_fits_rays_schema(path: Path) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_bytes())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(load(path))] == []


@pytest.mark.parametrize("path", VIRTUAL_MACHINES, ids=lambda path: path.name)
def test_virtual_machines_ask_for_a_token_and_the_dashboard_stays_on_localhost(path: Path) -> None:
    head, worker = ray_start_lines(path)
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert "--head" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert "~/.ray/auth_token" in load(path)["file_mounts"]


def test_ray_knows_every_flag_it_is_given() -> None:
    from ray.scripts.scripts import start  # noqa: PLC0415  # slow, and only wanted here

    known = {flag for parameter in start.params for flag in parameter.opts}
    slurm = (CLUSTER / "slurm" / "distq.sbatch").read_text()
    own, command = slurm.split("ray symmetric-run")[1].split(" -- ")
    assert {"--address", "--min-nodes"} <= set(flags(own))
    assert set(flags(own)) - {"--min-nodes"} <= known
    assert set(flags(command)) == {"--resume", "--address"}
    for path in VIRTUAL_MACHINES:
        for line in ray_start_lines(path):
            assert set(flags(line)) <= known


def flags(text: str) -> list[str]:
    return re.findall(r"--[a-z][a-z-]*", text)


def test_the_slurm_script_is_bash() -> None:
    script = str(CLUSTER / "slurm" / "distq.sbatch")
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)  # noqa: S603, S607  # reads it only
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_holds_what_the_package_is_built_from() -> None:
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [
        name for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    ]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert f"distq:{distq.__version__} " in dockerfile
