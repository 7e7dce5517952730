"""The Kubernetes manifests as data: as they are written, and as kubectl builds them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2] / "k8s"
OVERLAYS = ("kind", "gke", "eks")
ELSEWHERE = {"device-plugin": "kube-system", "kubert-storage-clients": "kubeflow"}
"""Namespaces of the objects that are not in kubert's own, by a part of their name."""
CLUSTER_WIDE = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue"}
Object = dict[str, Any]


class Written(NamedTuple):
    """A manifest and the file that it stands in, below k8s/."""

    file: str
    manifest: Object


def expected_namespace(manifest: Object) -> str | None:
    """The namespace that an object must be in; None for one of the whole cluster."""
    if manifest["kind"] in CLUSTER_WIDE:
        return None
    name = manifest["metadata"]["name"]
    return next((where for part, where in ELSEWHERE.items() if part in name), "kubert")


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.yaml"))


def list_written() -> list[Written]:
    """Every manifest of every file, without kustomizations and patches."""
    patches = {
        path.parent / patch["path"]
        for path in ROOT.rglob("kustomization.yaml")
        for patch in _read(path)[0].get("patches", [])
    }
    return [
        Written(str(path.relative_to(ROOT)), manifest)
        for path in files()
        if path not in patches and path.name != "kustomization.yaml"
        for manifest in _read(path)
    ]


def one(kind: str, name: str) -> Object:
    (found,) = [
        manifest
        for _, manifest in list_written()
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found


def kustomization(folder: str) -> Object:
    (found,) = _read(ROOT / folder / "kustomization.yaml")
    return found


def settings(overlay: str) -> dict[str, str]:
    (found,) = _read(ROOT / "overlays" / overlay / "settings.yaml")
    return dict(found["data"])


def pod_specs(manifest: Object) -> Iterator[Object]:
    """The pod that a manifest makes, if it makes one."""
    if manifest["kind"] in ("Deployment", "DaemonSet"):
        yield manifest["spec"]["template"]["spec"]
    elif manifest["kind"] == "InferenceService":
        yield manifest["spec"]["predictor"]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def copy_tree(target: Path, *, everything: bool = False) -> Path:
    """A copy of the tree; with `everything`, components that are comments are switched on."""
    shutil.copytree(ROOT, target)
    for path in target.glob("overlays/*/kustomization.yaml") if everything else ():
        path.write_text(re.sub(r"^  # - (\S+).*$", r"  - \1", path.read_text(), flags=re.M))
    return target


def rename_namespace(tree: Path, namespace: str) -> Path:
    """The same tree with another namespace, so that a test disturbs nobody's."""
    for path in tree.rglob("*.yaml"):
        text = re.sub(r"\bnamespace: kubert\b(?!-)", f"namespace: {namespace}", path.read_text())
        text = text.replace("metadata.name: kubert}", f"metadata.name: {namespace}}}")
        path.write_text(
            text.replace("  name: kubert\n", f"  name: {namespace}\n")
            if path.name == "namespace.yaml"
            else text
        )
    return tree


def build(folder: Path) -> list[Object]:
    """What `kubectl apply -k` would apply."""
    built = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return [manifest for manifest in yaml.safe_load_all(built.stdout) if manifest]


def kubectl(
    *arguments: str, given: object = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run kubectl on the cluster of KUBECONFIG, with an object as its standard input."""
    text = None if given is None else json.dumps(given)
    done = subprocess.run(
        ["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 or not check, (
        f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
    )
    return done


def dry_run(namespace: str, manifest: object) -> subprocess.CompletedProcess[str]:
    """What the API server says to an object, which it does not store."""
    options = ("create", "--dry-run=server", "-o", "json", "-f", "-")
    return kubectl("-n", namespace, *options, given=manifest, check=False)


def _read(path: Path) -> list[Object]:
    return [
        manifest for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")) if manifest
    ]
