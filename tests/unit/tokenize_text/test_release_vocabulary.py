"""The vocabulary of a run that begins with a release is that of the release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.release import open_release
from components.artifacts.token_shards import open_shards
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.errors import ConfigError
from components.registry.starting_point import publish_checkpoint
from components.storage.store import open_store
from components.tokenize_text.step import run
from tests.support.releases.release_directories import CONTENT, release_directory
from tests.support.training.tiny_checkpoint import MODEL, VOCABULARY, make_checkpoint


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of a model with one release."""
    root = tmp_path_factory.mktemp("released")
    make_checkpoint(root / "checkpoint")
    checkpoint, store = open_checkpoint(root / "checkpoint"), open_store(str(root / "models"))
    directory = release_directory(root / "release", "a")
    manifest.commit(
        directory,
        "release",
        content=CONTENT.model_dump(mode="json"),
        inputs={"checkpoint": checkpoint.digest, "shards": "others"},
    )
    publish_checkpoint(checkpoint, store, "news")
    registry.publish(open_release(directory), store, "news", "key")
    return store.uri("news")


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    rows = [f"w{number} w{number % 7} text,to {number},{'ab'[number % 2]}" for number in range(60)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["title,subject,label", *rows]) + "\n", encoding="utf-8")
    return DataConfig(source=str(path), text=("title",))


def tokenize(data: DataConfig, output: Path, **changes: Any) -> Any:
    model = ModelConfig.model_validate(MODEL.model_dump() | changes)
    run(data, model, TokenizeConfig(max_unknown=1.0), output)
    return open_shards(output)


def test_shards_have_the_vocabulary_of_the_release_and_fix_it(
    reference: str, data: DataConfig, tmp_path: Path
) -> None:
    shards = tokenize(data, tmp_path / "shards", start_from=reference)
    assert shards.vocabulary == VOCABULARY
    start = shards.content.start_from
    assert start.reference == reference
    assert (start.release.name, start.release.version) == ("news", 1)
    assert any("model.start_from means news version 1" in note for note in shards.content.notes)
    pinned = tokenize(data, tmp_path / "pinned", start_from=f"{reference}@1")
    assert pinned.digest == shards.digest  # where the weights come from is not in the rows


def test_while_nothing_is_released_the_vocabulary_is_learned_with_a_note(
    data: DataConfig, tmp_path: Path
) -> None:
    reference = str(tmp_path / "none" / "news")
    shards = tokenize(data, tmp_path / "shards", start_from=reference)
    assert shards.content.start_from.release is None
    assert f"nothing is released as {reference} yet" in shards.content.notes[0]
    plain = tokenize(data, tmp_path / "plain")
    assert plain.digest == shards.digest
    assert plain.content.start_from is None
    assert "start_from" not in plain.manifest.provenance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, "was trained with model.hidden_size 16, here it is 32"),
        ({"max_length": 16}, "was trained with model.max_length 20, here it is 16"),
        ({"lower_case": False}, "was trained with model.lower_case True, here it is False"),
        ({"encoder": "minilm"}, "was trained with model.encoder scratch, here it is minilm"),
    ],
    ids=["width", "length", "case", "encoder"],
)
def test_a_release_of_another_encoder_is_refused_before_any_row_is_tokenized(
    changes: dict[str, Any], message: str, reference: str, data: DataConfig, tmp_path: Path
) -> None:
    """Fault E6."""
    with pytest.raises(ConfigError, match=f"model.start_from: news version 1 {message}"):
        tokenize(data, tmp_path / "shards", start_from=reference, **changes)
    assert not (tmp_path / "shards").exists()


def test_a_scratch_encoder_of_single_texts_cannot_go_on_with_pairs(
    reference: str, data: DataConfig, tmp_path: Path
) -> None:
    pairs = DataConfig(source=data.source, text_pair=("title", "subject"))
    with pytest.raises(ConfigError, match=r"news version 1 was trained on single texts; leave out"):
        tokenize(pairs, tmp_path / "shards", start_from=reference)
    assert not (tmp_path / "shards").exists()
