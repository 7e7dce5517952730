"""A tiny BERT as TF-Hub publishes encoders."""

from __future__ import annotations

from pathlib import Path

from benchmarks.models.export_hub_encoder import export_encoder
from components.model.encoders import bert
from components.model.encoders.checkpoint import bert_weights, checkpoint_files, tokenizer_files
from tests.support.training import tiny_bert


def export_hub(checkpoint: Path, directory: Path) -> Path:
    """Write the checkpoint of `tiny_bert` as a SavedModel; its directory."""
    network = bert.build_network(checkpoint_files.parse_sizes(tiny_bert.CONFIG, "tiny"), 0.0, None)
    tensors = checkpoint_files.SafetensorsFiles(checkpoint)
    bert_weights.load_weights(network, tensors.names(), tensors.read, "tiny")
    export_encoder(network, tokenizer_files.read_vocabulary(checkpoint), directory)
    return directory
