"""The tensors of a BERT encoder in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tensor_shapes(config: Mapping[str, Any], pooler: bool = True) -> dict[str, tuple[int, ...]]:
    """Name -> shape, matrices as [outputs, inputs]; `config` has config.json's sizes."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            found |= {f"{at}{name}.weight": (hidden, hidden), f"{at}{name}.bias": (hidden,)}
        found |= {
            f"{at}intermediate.dense.weight": (inner, hidden),
            f"{at}intermediate.dense.bias": (inner,),
        }
        found |= {f"{at}output.dense.weight": (hidden, inner), f"{at}output.dense.bias": (hidden,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found |= {f"{at}{name}.weight": (hidden,), f"{at}{name}.bias": (hidden,)}
    return found | (
        {"pooler.dense.weight": (hidden, hidden), "pooler.dense.bias": (hidden,)} if pooler else {}
    )
