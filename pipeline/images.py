"""Which image a step runs in.

The reference is taken from KUBERT_TRAIN_IMAGE, which a deployment sets to an image by digest; without it, the local
name that `docker build` gives. The name holds "python" because kfp.local warns about images whose name does not.
"""

from __future__ import annotations

import os
import re

from components import __version__
from components.errors import ConfigError

VARIABLE = "KUBERT_TRAIN_IMAGE"
DEFAULT = f"kubert-train-python:{__version__}"
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


def train_image() -> str:
    """The image of every step. Raises ConfigError for a reference that is malformed or moves (`latest`, or no tag)."""
    image = os.environ.get(VARIABLE) or DEFAULT
    if not _REFERENCE.fullmatch(image):
        raise ConfigError(f"{VARIABLE}={image!r}: not an image reference such as repository/name@sha256:<64 hex digits>")
    if not has_digest(image) and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
        raise ConfigError(f"{VARIABLE}={image!r}: names no fixed version; give a digest (name@sha256:...) or a version tag")
    return image


def has_digest(image: str) -> bool:
    """Whether the reference can never come to mean another image."""
    return "@sha256:" in image
