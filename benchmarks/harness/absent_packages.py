"""Stand-ins for packages that Model Garden imports for other tasks and that are not installed."""

from __future__ import annotations

import sys
import types
from typing import Any

NAMES = ("sacrebleu", "sentencepiece", "seqeval")


def install_stand_ins() -> None:
    """Let an import of each of them succeed; call it before Model Garden is imported."""
    for name in NAMES:
        module: Any = types.ModuleType(name)
        module.metrics = None
        sys.modules.setdefault(name, module)
