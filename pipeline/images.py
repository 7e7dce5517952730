"""Container images of the steps and of the training launcher.

A reference comes from the configuration, else from KUBERT_TRAIN_IMAGE or KUBERT_TOOLS_IMAGE, which
`make images` prints by digest; without either it is the name of a local build. The names contain
"python" because kfp.local warns about images whose name does not.
"""

from __future__ import annotations

import os
import re

from components import __version__
from components.config.cluster import ClusterConfig
from components.config.environment import ENV_TOOLS_IMAGE, ENV_TRAIN_IMAGE
from components.errors import ConfigError

DEFAULT_IMAGES = {
    ENV_TRAIN_IMAGE: f"kubert-train-python:{__version__}",
    ENV_TOOLS_IMAGE: f"kubert-tools-python:{__version__}",
}
_VARIABLES = {"train_image": ENV_TRAIN_IMAGE, "tools_image": ENV_TOOLS_IMAGE}
_REFERENCE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


def resolve_images(cluster: ClusterConfig) -> ClusterConfig:
    """The section with both images named.

    Raises ConfigError for a malformed reference, and for one that moves (`latest`, or no tag).
    """
    images = {
        option: _resolve_image(option, getattr(cluster, option), variable)
        for option, variable in _VARIABLES.items()
    }
    return cluster.model_copy(update=images)


def _resolve_image(option: str, given: str | None, variable: str) -> str:
    image = given or os.environ.get(variable) or DEFAULT_IMAGES[variable]
    source = f"cluster.{option}" if given else variable
    if not _REFERENCE_PATTERN.fullmatch(image):
        raise ConfigError(
            f"{source}={image!r}: not an image reference such as "
            "repository/name@sha256:<64 hex digits>"
        )
    if not has_digest(image) and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
        raise ConfigError(
            f"{source}={image!r}: names no fixed version; give a digest (name@sha256:...) or a "
            "version tag"
        )
    return image


def has_digest(image: str) -> bool:
    """Whether the reference names one image for ever."""
    return "@sha256:" in image
