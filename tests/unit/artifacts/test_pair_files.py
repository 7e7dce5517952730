"""Files with pairs of texts; those with single texts are what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts.predictions import (
    PredictionsWriter,
    iterate_predictions,
    read_first_texts,
)
from components.artifacts.shard_metadata import ShardsContent
from components.artifacts.token_shards import ShardWriter, SplitReader
from components.data.split_names import SPLITS, SplitName
from components.data.text_columns import Text

PAIRS: list[Text] = [("who?", "they"), ("where?", "there"), ("", "x")]
IDS = np.array([2, 4, 3, 5, 3, 2, 3, 4, 3, 2, 3, 3], np.int32)
ROW_SPLITS = np.array([0, 5, 9, 12])


def write_split(directory: Path, split: SplitName, texts: list[Text]) -> SplitReader:
    has_pairs = not isinstance(texts[0], str)
    writer = ShardWriter(directory, split, 7, ("a", "b"), shard_rows=2, has_pairs=has_pairs)
    writer.add_rows(IDS, ROW_SPLITS, [0, 1, 0], texts)
    return SplitReader(directory, split, writer.close(), pad_id=0)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_pairs_come_back_in_any_order(tmp_path: Path, split: SplitName) -> None:
    reader = write_split(tmp_path, split, PAIRS)
    assert reader.read_texts([2, 0]) == [PAIRS[2], PAIRS[0]]
    assert reader.read_padded([1], 5).tolist() == [[2, 3, 4, 3, 0]]


@pytest.mark.parametrize("split", SPLITS)
def test_segments_take_no_space(tmp_path: Path, split: SplitName) -> None:
    for name, texts in (("pairs", PAIRS), ("single", ["a", "b", "c"])):
        (tmp_path / name).mkdir()
        write_split(tmp_path / name, split, [*texts])
    schemas = {
        name: pa.ipc.open_file(tmp_path / name / f"{split}-00000.arrow").schema.names
        for name in ("pairs", "single")
    }
    texts = [] if split == "train" else ["text"]
    assert schemas["single"] == ["input_ids", "label", *texts]
    assert schemas["pairs"] == schemas["single"] + ["text_pair"] * len(texts)


@pytest.mark.parametrize(
    ("inputs", "is_stored"),
    [
        pytest.param(("text",), False, id="single-texts"),
        pytest.param(("question", "answer"), True, id="pairs"),
    ],
)
def test_only_the_inputs_of_pairs_are_in_the_manifest(
    inputs: tuple[str, ...], is_stored: bool
) -> None:
    content = ShardsContent(
        classes=("a", "b"),
        vocabulary_sha256="0",
        lower_case=True,
        encoder="scratch",
        max_length=16,
        inputs=inputs,
        splits={},
        source_sha256="0",
    )
    stored = content.model_dump(mode="json")
    assert ("inputs" in stored) is is_stored
    assert ShardsContent.model_validate(stored) == content


@pytest.mark.parametrize("texts", [PAIRS, None], ids=["pairs", "without-texts"])
def test_predictions_of_pairs_have_both_texts_or_none(
    tmp_path: Path, texts: list[Text] | None
) -> None:
    with PredictionsWriter(tmp_path, has_pairs=True) as predictions:
        predictions.add(np.zeros(3, np.int32), np.ones((3, 2), np.float32), texts)
    assert [len(part) for part in iterate_predictions(tmp_path)] == [3]
    assert read_first_texts(tmp_path, 2) == (texts or [])[:2]
