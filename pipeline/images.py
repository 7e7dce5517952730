"""Container images of the workers, of the other steps, and of the training launcher.

A reference comes from the configuration, else from the environment variable of its kind, whose
value `make images` prints by digest; without either it is the name of a local build. The names
contain "python" because kfp.local warns about images whose name does not.

Only the workers' image has TensorFlow for GPUs. Steps without a GPU have an image of their own
where one is known, so that their nodes do not pull CUDA.
"""

from __future__ import annotations

import os
import re

from components import __version__
from components.config.cluster import ClusterConfig
from components.config.environment import ENV_STEP_IMAGE, ENV_TOOLS_IMAGE, ENV_TRAIN_IMAGE
from components.errors import ConfigError

DEFAULT_IMAGES = {
    ENV_TRAIN_IMAGE: f"kubert-train-python:{__version__}",
    ENV_TOOLS_IMAGE: f"kubert-tools-python:{__version__}",
}
_VARIABLES = {
    "train_image": ENV_TRAIN_IMAGE,
    "step_image": ENV_STEP_IMAGE,
    "tools_image": ENV_TOOLS_IMAGE,
}
_REFERENCE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


def resolve_images(cluster: ClusterConfig) -> ClusterConfig:
    """The section with the images named; `step_image` is the workers' if no other is known.

    Raises ConfigError for a malformed reference, and for one that moves (`latest`, or no tag).
    """
    images = {
        option: _resolve_image(option, getattr(cluster, option), variable)
        for option, variable in _VARIABLES.items()
    }
    return cluster.model_copy(
        update={**images, "step_image": images["step_image"] or images["train_image"]}
    )


def list_images(cluster: ClusterConfig) -> dict[str, str]:
    """The references of a section that `resolve_images` returned, by option."""
    return {option: str(getattr(cluster, option)) for option in _VARIABLES}


def _resolve_image(option: str, given: str | None, variable: str) -> str | None:
    image = given or os.environ.get(variable) or DEFAULT_IMAGES.get(variable)
    if image is None:
        return None
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
