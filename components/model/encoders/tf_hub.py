"""Encoder `hub:`: BERT SavedModels as TF-Hub and Kaggle publish them, located and described."""

from __future__ import annotations

import os
import re
import socket
import tarfile
import urllib.error
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.model.encoders.fingerprint import hash_file

if TYPE_CHECKING:
    from components.model.dropout import DropoutSeed
    from components.model.encoders.hub_layer import HubEncoder

_DOWNLOAD_TIMEOUT_SECONDS = 60.0


def load_vocabulary(config: ModelConfig) -> Vocabulary:
    """The vocabulary of `model.preprocessor`, or the encoder's own; weights are not loaded."""
    from components.model.encoders import hub_vocabulary

    if config.preprocessor:
        directory = locate_saved_model(config.preprocessor, "model.preprocessor")
        return hub_vocabulary.read_preprocessor(
            directory, f"model.preprocessor {config.preprocessor}"
        )
    directory = locate_saved_model(config.encoder)
    return hub_vocabulary.read_encoder(directory, f"model.encoder {config.encoder}")


def validate_files(config: ModelConfig) -> bool:
    """Whether the encoder is a local SavedModel; ConfigError for a directory that holds none."""
    if config.preprocessor and _is_local(config.preprocessor):
        locate_saved_model(config.preprocessor, "model.preprocessor")
    if not _is_local(config.encoder):
        return False
    locate_saved_model(config.encoder)
    return True


def find_hidden_size(config: ModelConfig) -> None:
    """None: only the loaded graph has it."""


def has_pooler(config: ModelConfig) -> bool:
    """True: the signature of a BERT SavedModel has a pooled output."""
    return True


def describe_weights(config: ModelConfig) -> dict[str, object]:
    """Digests of the files that the features depend on."""
    directory = locate_saved_model(config.encoder)
    files = {name: hash_file(directory / name) for name in list_weight_files(directory)}
    return {"kind": "hub", "files": files}


def check_segments(config: ModelConfig) -> None:
    """Nothing to check: input_type_ids are an input of every BERT SavedModel."""


def build_layer(
    config: ModelConfig,
    vocabulary: Vocabulary,
    seed: int,
    dropout_seed: DropoutSeed,
    *,
    has_pairs: bool,
) -> HubEncoder:
    """The SavedModel as a layer, which draws its own dropout; ConfigError if it does not fit."""
    from components.model.encoders import hub_layer

    directory = locate_saved_model(config.encoder)
    return hub_layer.build_hub_encoder(config, directory, load_vocabulary(config), vocabulary)


def list_weight_files(directory: Path) -> list[str]:
    """The files, relative to the directory, that decide what the encoder computes."""
    files = [directory / "saved_model.pb", *sorted((directory / "variables").glob("*"))]
    return [os.fspath(file.relative_to(directory)) for file in files]


def locate_saved_model(encoder: str, option: str = "model.encoder") -> Path:
    """The local directory of a SavedModel; a URL or handle is downloaded into TF-Hub's cache.

    A handle without a host is tfhub.dev's, or Kaggle's where its third part is the framework
    (owner/model/tensorFlow2/variation/version). The cache is TFHUB_CACHE_DIR.
    """
    name = encoder.removeprefix("hub:").strip()
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise ConfigError(f"{option} {encoder}: {path} holds no saved_model.pb")
        return path
    if re.match(r"[a-z0-9+]+://", name) and not name.startswith(("https://", "http://")):
        raise ConfigError(
            f"{option} {encoder}: copy it to a local directory first; "
            "only http(s) addresses are downloaded"
        )
    if _is_local(encoder):
        raise ConfigError(f"{option} {encoder}: there is no directory {path}")
    return _download_model(resolve_url(name), f"{option} {encoder}")


def _is_local(encoder: str) -> bool:
    """Whether it names a directory, that exists or not, rather than an address or a handle."""
    name = encoder.removeprefix("hub:").strip()
    looks_local = name.startswith(("/", ".", "~")) or "/" not in name
    return looks_local or Path(name).expanduser().is_dir()


def resolve_url(name: str) -> str:
    """The URL of a handle; a URL is returned as it is."""
    if name.startswith(("https://", "http://")):
        return name
    parts = name.split("/")
    if len(parts) > 3 and parts[2].lower() == "tensorflow2":
        return f"https://www.kaggle.com/models/{name}"
    return f"https://tfhub.dev/{name}"


def import_hub() -> Any:
    """The module tensorflow_hub, without the deprecation warning that its import prints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        import tensorflow_hub
    return tensorflow_hub


def _download_model(url: str, where: str) -> Path:
    import tensorflow as tf

    try:
        with _socket_timeout(_DOWNLOAD_TIMEOUT_SECONDS):
            return Path(import_hub().resolve(url))
    except urllib.error.HTTPError as error:
        raise ConfigError(
            f"{where}: {url} answers {error.code} {error.reason}; "
            "check the handle, or name a local directory"
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(
            f"{where}: {url} cannot be reached ({reason}); "
            "connect to the network, or name a local directory"
        ) from None
    except (OSError, EOFError, ValueError, tarfile.TarError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: the response of {url} is not a packed SavedModel ({first_line(error)})"
        ) from None


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """TF-Hub's downloader sets no timeout: without one, a silent server would block it for ever."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def first_line(error: BaseException) -> str:
    """The beginning of an error's text."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
