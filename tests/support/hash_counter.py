"""Counts how often each file of an artifact is hashed."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from components.storage.atomic_files import file_sha256


def count_file_hashes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of `file_sha256` by path, from now on; a staged directory counts as its final one."""
    counts: Counter[str] = Counter()

    def counting_file_sha256(path: Path) -> str:
        counts[re.sub(r"/\.([^/]+)\.[^/.]+/", r"/\1/", str(path))] += 1
        return file_sha256(path)

    for name, module in list(sys.modules.items()):
        if name.startswith("components.") and hasattr(module, "file_sha256"):
            monkeypatch.setattr(module, "file_sha256", counting_file_sha256)
    return counts
