"""Small source files and their tokenized shards."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.artifacts.token_shards import TokenShards, open_shards
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.tokenize_text.step import run

SCRATCH = ModelConfig(encoder="scratch", vocab_size=400, max_length=64)
GOOD = [(f"plain text number {i} with a few words", "ab"[i % 2]) for i in range(200)]


def tokenize(
    tmp_path: Path, content: bytes | str, name: str = "rows.csv", **options: Any
) -> TokenShards:
    """Write a source file and run the tokenize step on it, however odd its words are."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run(
        DataConfig(source=str(path), text=("text",), **options),
        SCRATCH,
        TokenizeConfig(rows_per_shard=40, max_unknown=1.0),
        tmp_path / "shards",
    )
    return open_shards(tmp_path / "shards")


def csv_of(rows: Iterable[tuple[str, str]], end: str = "\n") -> str:
    """A CSV file with the columns text and label."""
    return end.join(["text,label", *(f"{text},{label}" for text, label in rows)]) + end
