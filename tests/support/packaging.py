"""Reads the files in packaging/: units of systemd and manifests of Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "packaging" / "systemd"
KUBERNETES = ROOT / "packaging" / "kubernetes"


def settings(unit: Path) -> list[tuple[str, str, str]]:
    """Section, name and value of every line of a unit (systemd.syntax(7))."""
    section, found = "", []
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            assert equals, line
            found.append((section, name, value))
    return found


def documents() -> list[dict[str, Any]]:
    """All manifests of Kubernetes."""
    return [
        document
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def one(kind: str, name: str) -> dict[str, Any]:
    """The manifest of a kind and a name."""
    (found,) = [
        document
        for document in documents()
        if document["kind"] == kind and document["metadata"]["name"] == name
    ]
    return found


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The specification of the pod that a Job or CronJob starts."""
    spec: dict[str, Any] = manifest["spec"]
    template = spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec
    pod: dict[str, Any] = template["template"]["spec"]
    return pod
