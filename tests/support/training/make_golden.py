"""Writes the golden files of tests/data: outputs of Hugging Face's BertModel (PyTorch).

golden_minilm.json and golden_tiny.json have hidden states, golden_attention.json the attention of
both models.

Needs torch and transformers, which are not part of kubert's environment. Run it from the
repository's root with the directory of minilm's config.json:

    python -m tests.support.training.make_golden MINILM_DIRECTORY
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.training import tiny_bert

TEXTS = (
    "Stocks rallied on Wall Street after the Federal Reserve left rates unchanged.",
    "Oil",
    "",
    "The café's naïve façade: 3-2 in extra time, said coach O'Neil; "
    "\u4e2d\u6587 headlines followed ...",
)
TINY_IDS = [[2, 35, 36, 37, 3, 0, 0, 0], [2, 5, 31, 32, 9, 30, 22, 3], [2, 3, 0, 0, 0, 0, 0, 0]]
TINY_TYPES = [[0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0]]


def compute_attention(
    directory: Path, inputs: dict[str, list[list[int]]], rows: slice
) -> dict[str, Any]:
    """Inputs, and the attention of all layers and heads: rows [layers, texts, heads, rows, tokens].

    The squares are summed over the rows and columns of a text's own tokens.
    """
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    ids, mask = (np.array(inputs[name]) for name in ("input_word_ids", "input_mask"))
    with torch.no_grad():
        result = model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            token_type_ids=torch.zeros(ids.shape, dtype=torch.long),
            output_attentions=True,
        )
    layers = np.stack([layer.numpy().astype(np.float64) for layer in result.attentions])
    own = mask[:, None, :, None] * mask[:, None, None, :]
    return {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "inputs": inputs,
        "rows": [rows.start, rows.stop, rows.step],
        "attention": np.round(layers[:, :, :, rows], 5).tolist(),
        "squares": np.round((np.square(layers) * own).sum((3, 4)), 6).tolist(),
    }


def compute_outputs(
    directory: Path, inputs: dict[str, list[list[int]]], rows: slice, units: slice
) -> dict[str, Any]:
    """Inputs, a slice of hidden states [:, rows, units], pooled outputs, and sums of squares."""
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    with torch.no_grad():
        result = model(
            input_ids=torch.tensor(inputs["input_word_ids"]),
            attention_mask=torch.tensor(inputs["input_mask"]),
            token_type_ids=torch.tensor(inputs["input_type_ids"]),
        )
    hidden, mask = (
        result.last_hidden_state.numpy(),
        np.array(inputs["input_mask"], np.float64)[:, :, None],
    )
    return {
        "command": "python -m tests.support.training.make_golden MINILM_DIRECTORY",
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
        "inputs": inputs,
        "rows": [rows.start, rows.stop, rows.step],
        "units": [units.start, units.stop, units.step],
        "hidden": np.round(hidden[:, rows, units].astype(float), 6).tolist(),
        "hidden_squares": np.round(
            (np.square(hidden.astype(np.float64)) * mask).sum((1, 2)), 6
        ).tolist(),
        "pooled": np.round(result.pooler_output.numpy()[:, units].astype(float), 6).tolist(),
        "pooled_squares": np.round(
            np.square(result.pooler_output.numpy().astype(np.float64)).sum(1), 6
        ).tolist(),
    }


def main(minilm: Path) -> None:
    """Write the files into tests/data."""
    from transformers import AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(minilm)(list(TEXTS), padding=True)
    inputs = {"input_word_ids": encoded["input_ids"], "input_mask": encoded["attention_mask"]}
    inputs["input_type_ids"] = [[0] * len(row) for row in encoded["input_ids"]]
    here = Path(__file__).parents[2] / "data"
    golden = {"texts": TEXTS, **compute_outputs(minilm, inputs, slice(0, 40, 5), slice(0, 384, 48))}
    (here / "golden_minilm.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    tiny = {
        "input_word_ids": TINY_IDS,
        "input_mask": [[int(i > 0) for i in row] for row in TINY_IDS],
        "input_type_ids": TINY_TYPES,
    }
    tiny_ids = {name: tiny[name] for name in ("input_word_ids", "input_mask")}
    short = {name: [row[:17] for row in inputs[name][:1]] for name in tiny_ids}
    with tempfile.TemporaryDirectory() as work:
        directory = tiny_bert.write(Path(work))
        golden = compute_outputs(directory, tiny, slice(0, 8, 1), slice(0, 24, 1))
        attention = {
            "command": golden["command"],
            "tiny": compute_attention(directory, tiny_ids, slice(0, 8, 3)),
            "minilm": compute_attention(minilm, short, slice(0, 16, 12)),
        }
    (here / "golden_tiny.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    (here / "golden_attention.json").write_text(json.dumps(attention) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
