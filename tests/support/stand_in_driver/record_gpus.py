"""A worker that records the GPUs that its driver shows: python -m ... DOCUMENT."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from components.gpu.driver import read_driver


def main(document: Path) -> None:
    """Write the names of the GPUs into a file named after the rank, beside the job document."""
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    names = [gpu.name for gpu in read_driver().devices]
    (document.parent / f"gpus-{rank}.json").write_text(json.dumps(names), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
