"""BERT SavedModels as TF-Hub and Kaggle publish them: the encoder, and the vocabulary of its preprocessor.

The SavedModel is used as it is. What is baked into its graph stays: float32 under every precision policy, and its own
dropout (drawn by TensorFlow per worker), which is the one exception to the rule that a run does not depend on the number
of workers; with `model.dropout: 0` it is switched off and the rule holds.
"""

from __future__ import annotations

import os
import re
import socket
import tarfile
import urllib.error
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model.encoders.hugging_face import build_vocabulary, read_vocabulary_file

with warnings.catch_warnings():
    # TF-Hub imports pkg_resources, which announces its own end on the terminal.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import tensorflow_hub as hub

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
_OUTPUTS = ("pooled_output", "sequence_output")
_LOWER_CASE = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"
_TIMEOUT = 60.0


class HubEncoder(tf.keras.layers.Layer):
    """input_word_ids, input_mask, input_type_ids (int32 [batch, length]) -> sequence_output [batch, length, hidden], pooled_output [batch, hidden]."""

    def __init__(
        self, layer: hub.KerasLayer, width: int, inner_dropout: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.word_embeddings = None
        self.layer = layer
        self.hidden_size = width
        self._inner_dropout = inner_dropout

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        # Layer norm does not depend on `training`: of a BERT, dropout alone does.
        given = {"input_type_ids": tf.zeros_like(inputs["input_word_ids"]), **inputs}
        outputs = self.layer(
            {name: given[name] for name in _INPUTS}, training=bool(training and self._inner_dropout)
        )
        return {name: outputs[name] for name in _OUTPUTS}

    def freeze_pooler(self) -> None:
        """Nothing to do: which variables the pooled output alone depends on is not known, and their gradient is zero."""


def build(config: ModelConfig, vocabulary: Vocabulary) -> HubEncoder:
    """The encoder of `hub:<...>`, loaded and tried at `max_length`; ConfigError when it is not a BERT encoder or does not fit."""
    own = read_vocabulary(config)
    if own.sha256 != vocabulary.sha256:
        raise ConfigError(
            f"model.encoder {config.encoder}: the texts were tokenized with another vocabulary; tokenize them again for it"
        )
    directory = locate_saved_model(config.encoder)
    where = f"model.encoder {config.encoder}"
    try:
        layer = hub.KerasLayer(str(directory), trainable=not config.freeze, name="hub")
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: not a SavedModel that can be called as an encoder ({_first_line(error)})"
        ) from None
    width = _width(layer, where)
    if not config.freeze and not layer.trainable_weights:
        raise ConfigError(
            f"{where}: was published without trainable variables; set model.freeze=true"
        )
    try:
        ids = tf.zeros([1, config.max_length], tf.int32)
        # Under a multi-worker strategy a loaded function can only be executed as a replica does it.
        tf.distribute.get_strategy().run(
            tf.function(lambda: layer(dict.fromkeys(_INPUTS, ids), training=False))
        )
    except (ValueError, tf.errors.OpError):
        raise ConfigError(
            f"model.max_length {config.max_length}: longer than {config.encoder} can read"
        ) from None
    return HubEncoder(layer, width, inner_dropout=config.dropout > 0, name="encoder")


def _width(layer: hub.KerasLayer, where: str) -> int:
    """The size of the text's vector; ConfigError unless the layer takes and gives what a BERT encoder does."""
    inputs = {name: tf.TensorSpec([None, None], tf.int32) for name in _INPUTS}
    try:
        outputs = (
            tf.function(lambda given: layer(given, training=False))
            .get_concrete_function(inputs)
            .structured_outputs
        )
    except (ValueError, TypeError, KeyError, tf.errors.OpError):
        raise ConfigError(
            f"{where}: cannot be called with {', '.join(_INPUTS)} of any length; a BERT encoder in TF-Hub's format is needed"
        ) from None
    missing = [name for name in _OUTPUTS if not isinstance(outputs, Mapping) or name not in outputs]
    if missing:
        raise ConfigError(
            f"{where}: its outputs have no {' and no '.join(missing)}; a BERT encoder in TF-Hub's format is needed"
        )
    width = outputs["pooled_output"].shape[-1]
    if width is None or outputs["sequence_output"].shape[-1] != width:
        raise ConfigError(f"{where}: pooled_output and sequence_output must have one fixed width")
    return int(width)


def read_vocabulary(config: ModelConfig) -> Vocabulary:
    """The vocabulary of `model.preprocessor`, or the encoder's own file; no weights are loaded."""
    if config.preprocessor:
        return _preprocessor_vocabulary(config.preprocessor)
    directory = locate_saved_model(config.encoder)
    where = f"model.encoder {config.encoder}"
    asset = _asset_attribute(directory, "vocab_file")
    if asset is None:
        raise ConfigError(
            f"{where}: holds no vocabulary (vocab_file); name its preprocessor in model.preprocessor"
        )
    try:
        reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
        lower_case = bool(reader.get_tensor(_LOWER_CASE))
    except (ValueError, tf.errors.OpError):
        raise ConfigError(
            f"{where}: does not say whether it is lower-cased (do_lower_case); name its preprocessor in model.preprocessor"
        ) from None
    return build_vocabulary(read_vocabulary_file(directory / "assets" / asset), lower_case, where)


def _preprocessor_vocabulary(handle: str) -> Vocabulary:
    import tensorflow_text  # noqa: F401  (registers the preprocessor's operations)

    where = f"model.preprocessor {handle}"
    directory = locate_saved_model(handle, "model.preprocessor")
    assets = sorted({Path(asset.filename).name for asset in _meta_graph(directory).asset_file_def})
    if len(assets) != 1:
        raise ConfigError(
            f"{where}: must hold one vocabulary file, found {', '.join(assets) or 'none'}"
        )
    tokens = read_vocabulary_file(directory / "assets" / assets[0])
    probe = next((token for token in tokens if re.fullmatch("[a-z]{2,}", token)), None)
    if probe is None:
        return build_vocabulary(tokens, False, where)
    try:
        outputs = hub.load(str(directory))(tf.constant([probe, probe.upper()]))
        lower, upper = outputs["input_word_ids"].numpy().tolist()
    except (ValueError, TypeError, KeyError, AttributeError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: does not turn texts into input_word_ids ({_first_line(error)})"
        ) from None
    return build_vocabulary(tokens, lower == upper, where)


def locate_saved_model(encoder: str, option: str = "model.encoder") -> Path:
    """The local directory of a SavedModel; a URL or handle is downloaded into TF-Hub's cache (TFHUB_CACHE_DIR).

    Handles without a host are tfhub.dev's, or Kaggle's where the framework stands in third place
    (owner/model/tensorFlow2/variation/version).
    """
    name = encoder.removeprefix("hub:").strip()
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise ConfigError(f"{option} {encoder}: {path} holds no saved_model.pb")
        return path
    if re.match(r"[a-z0-9+]+://", name) and not name.startswith(("https://", "http://")):
        raise ConfigError(
            f"{option} {encoder}: copy it to a local directory first; only http(s) addresses are downloaded"
        )
    if name.startswith(("/", ".", "~")) or "/" not in name:
        raise ConfigError(f"{option} {encoder}: there is no directory {path}")
    return _download(resolve_url(name), f"{option} {encoder}")


def resolve_url(name: str) -> str:
    """The URL of a handle as people write it; a URL is returned as it is."""
    if name.startswith(("https://", "http://")):
        return name
    parts = name.split("/")
    if len(parts) > 3 and parts[2].lower() == "tensorflow2":
        return f"https://www.kaggle.com/models/{name}"
    return f"https://tfhub.dev/{name}"


def _download(url: str, where: str) -> Path:
    try:
        with _socket_timeout(_TIMEOUT):
            return Path(hub.resolve(url))
    except urllib.error.HTTPError as error:
        raise ConfigError(
            f"{where}: {url} answers {error.code} {error.reason}; check the handle, or name a local directory"
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(
            f"{where}: {url} cannot be reached ({reason}); connect to the network, or name a local directory"
        ) from None
    except (OSError, EOFError, ValueError, tarfile.TarError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: what {url} sent is not a packed SavedModel ({_first_line(error)})"
        ) from None


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """TF-Hub's downloader sets no timeout of its own: a silent server would hold it for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def weight_files(directory: Path) -> list[str]:
    """Names, relative to the directory, of the files that decide what the encoder computes."""
    files = [directory / "saved_model.pb", *sorted((directory / "variables").glob("*"))]
    return [os.fspath(file.relative_to(directory)) for file in files]


def _meta_graph(directory: Path) -> Any:
    try:
        return saved_model_pb2.SavedModel.FromString(
            (directory / "saved_model.pb").read_bytes()
        ).meta_graphs[0]
    except Exception as error:
        raise DataError(
            f"{directory}: saved_model.pb cannot be read ({type(error).__name__})"
        ) from None


def _asset_attribute(directory: Path, attribute: str) -> str | None:
    """File name of the asset that is the root object's attribute of this name."""
    graph = _meta_graph(directory)
    nodes = graph.object_graph_def.nodes
    for child in nodes[0].children if nodes else ():
        if child.local_name == attribute and nodes[child.node_id].HasField("asset"):
            return Path(
                graph.asset_file_def[nodes[child.node_id].asset.asset_file_def_index].filename
            ).name
    return None


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
