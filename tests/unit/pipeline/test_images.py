from __future__ import annotations

import pytest

from components.config.cluster import ClusterConfig
from components.config.environment import ENV_STEP_IMAGE, ENV_TOOLS_IMAGE, ENV_TRAIN_IMAGE
from components.errors import ConfigError
from pipeline import images

DIGEST = "images.example/kubert/train@sha256:" + "0" * 64
OTHER = "images.example/kubert/train@sha256:" + "1" * 64
MOVING = [
    "kubert",
    "kubert:latest",
    "images.example:5000/kubert",
    "kubert:1 --privileged",
    "kubert@sha256:abc",
    "$(id)",
]
OPTIONS = [
    pytest.param("train_image", ENV_TRAIN_IMAGE, id="train"),
    pytest.param("step_image", ENV_STEP_IMAGE, id="step"),
    pytest.param("tools_image", ENV_TOOLS_IMAGE, id="tools"),
]


@pytest.mark.parametrize(("option", "variable"), OPTIONS)
@pytest.mark.parametrize(
    "image", [DIGEST, "images.example:5000/kubert:1.2.3", "kubert-train-python:0.1.0"]
)
def test_fixed_references_are_taken(
    image: str, option: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, image)
    assert getattr(images.resolve_images(ClusterConfig()), option) == image


@pytest.mark.parametrize(("option", "variable"), OPTIONS)
def test_the_configuration_goes_before_the_environment(
    option: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, OTHER)
    assert getattr(images.resolve_images(ClusterConfig(**{option: DIGEST})), option) == DIGEST


@pytest.mark.parametrize(("option", "variable"), OPTIONS)
@pytest.mark.parametrize("image", MOVING)
def test_moving_or_malformed_references_are_refused(
    image: str, option: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault A8."""
    monkeypatch.setenv(variable, image)
    with pytest.raises(ConfigError, match=variable):
        images.resolve_images(ClusterConfig())
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigError, match=rf"cluster\.{option}"):
        images.resolve_images(ClusterConfig(**{option: image}))


def test_steps_use_the_workers_image_where_no_other_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ENV_STEP_IMAGE, raising=False)
    assert images.resolve_images(ClusterConfig(train_image=DIGEST)).step_image == DIGEST
    monkeypatch.setenv(ENV_STEP_IMAGE, OTHER)
    assert images.resolve_images(ClusterConfig(train_image=DIGEST)).step_image == OTHER


def test_the_defaults_are_this_version_and_quiet_under_kfp_local(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in (ENV_TRAIN_IMAGE, ENV_STEP_IMAGE, ENV_TOOLS_IMAGE):
        monkeypatch.delenv(variable, raising=False)
    found = images.resolve_images(ClusterConfig())
    assert found.train_image and found.tools_image and found.train_image != found.tools_image
    assert "python" in found.train_image and "python" in found.tools_image
    assert not images.has_digest(found.train_image)
    assert images.has_digest(DIGEST)
