"""The vocabulary inside a TF-Hub SavedModel: of an encoder, or of its preprocessor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError, DataError
from components.model.encoders.checkpoint.checkpoint_files import (
    build_vocabulary,
    read_vocabulary_file,
)
from components.model.encoders.tf_hub import first_line, import_hub

_LOWER_CASE_VARIABLE = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"


def read_encoder(directory: Path, where: str) -> Vocabulary:
    """The encoder's own vocabulary file, and its `do_lower_case`; weights are not loaded."""
    asset = _find_asset(directory, "vocab_file")
    if asset is None:
        raise ConfigError(
            f"{where}: holds no vocabulary (vocab_file); "
            "name its preprocessor in model.preprocessor"
        )
    try:
        reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
        lower_case = bool(reader.get_tensor(_LOWER_CASE_VARIABLE))
    except (ValueError, tf.errors.OpError):
        raise ConfigError(
            f"{where}: has no do_lower_case, so whether it is lower-cased is unknown; "
            "name its preprocessor in model.preprocessor"
        ) from None
    return build_vocabulary(read_vocabulary_file(directory / "assets" / asset), lower_case, where)


def read_preprocessor(directory: Path, where: str) -> Vocabulary:
    """The preprocessor's vocabulary file; lower-cased if it gives a word's capitals the same id."""
    import tensorflow_text  # noqa: F401  (registers the preprocessor's operations)

    graph = _read_meta_graph(directory)
    assets = sorted({Path(asset.filename).name for asset in graph.asset_file_def})
    if len(assets) != 1:
        raise ConfigError(
            f"{where}: must hold one vocabulary file, found {', '.join(assets) or 'none'}"
        )
    tokens = read_vocabulary_file(directory / "assets" / assets[0])
    word = next((token for token in tokens if re.fullmatch("[a-z]{2,}", token)), None)
    if word is None:
        return build_vocabulary(tokens, False, where)
    try:
        outputs = import_hub().load(str(directory))(tf.constant([word, word.upper()]))
        lower, upper = outputs["input_word_ids"].numpy().tolist()
    except (ValueError, TypeError, KeyError, AttributeError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: does not turn texts into input_word_ids ({first_line(error)})"
        ) from None
    return build_vocabulary(tokens, lower == upper, where)


def _read_meta_graph(directory: Path) -> Any:
    path = directory / "saved_model.pb"
    try:
        return saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    except Exception as error:
        raise DataError(
            f"{directory}: saved_model.pb cannot be read ({type(error).__name__})"
        ) from None


def _find_asset(directory: Path, attribute: str) -> str | None:
    """File name of the asset that is the root object's attribute of this name."""
    graph = _read_meta_graph(directory)
    nodes = graph.object_graph_def.nodes
    for child in nodes[0].children if nodes else ():
        if child.local_name == attribute and nodes[child.node_id].HasField("asset"):
            asset = graph.asset_file_def[nodes[child.node_id].asset.asset_file_def_index]
            return Path(asset.filename).name
    return None
