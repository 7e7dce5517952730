"""Tests against the cluster that KUBECONFIG names; skipped with a reason where there is none."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest


@functools.cache
def _why_not() -> str:
    """Why there is no cluster to test against; empty if there is one."""
    if not os.environ.get("KUBECONFIG"):
        return "no cluster: KUBECONFIG is not set"
    try:
        asked = subprocess.run(
            ["kubectl", "version", "--request-timeout=10s"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no cluster: kubectl: {error}"
    return "" if asked.returncode == 0 else f"no cluster: {' '.join(asked.stderr.split())[:200]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(autouse=True, scope="session")
def cluster() -> None:
    """Skips every test here where there is no cluster."""
    if reason := _why_not():
        pytest.skip(reason)
