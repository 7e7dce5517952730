from __future__ import annotations

import pytest

from components.errors import ConfigError
from pipeline import images

DIGEST = "images.example/kubert/train@sha256:" + "0" * 64


@pytest.mark.parametrize("image", [DIGEST, "images.example:5000/kubert:1.2.3", "kubert-train-python:0.1.0"])
def test_fixed_references_are_taken(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.VARIABLE, image)
    assert images.train_image() == image


@pytest.mark.parametrize(
    "image", ["kubert", "kubert:latest", "images.example:5000/kubert", "kubert:1 --privileged", "kubert@sha256:abc", "$(id)"]
)
def test_a8_moving_or_malformed_references_are_refused(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.VARIABLE, image)
    with pytest.raises(ConfigError, match=images.VARIABLE):
        images.train_image()


def test_the_default_is_this_version_and_quiet_under_kfp_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(images.VARIABLE, raising=False)
    assert "python" in images.train_image()
    assert not images.has_digest(images.train_image())
    assert images.has_digest(DIGEST)
