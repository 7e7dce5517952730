"""The shards of a fold: which rows are in which split, and that they are the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from components.artifacts.token_shards import TokenShards, open_shards
from components.cross_validation import fold_step
from components.data.split_names import SPLITS, SplitName
from components.data.text_columns import Text
from components.errors import ConfigError, DataError
from tests.support.cross_validation.fold_shards import Row, find_token_ids, make_shards, number_rows

Rows = Mapping[SplitName, Sequence[Row]]
ROWS: Rows = {
    "train": [*number_rows("train", 60), ("Train  1", 1)],
    "validation": number_rows("validation", 20),
    "test": number_rows("test", 9),
}


def read_rows(shards: TokenShards, split: SplitName) -> dict[Text, int]:
    reader = shards.open_split(split)
    numbers = range(len(reader))
    ids, starts = reader.read_flat(numbers)
    texts = reader.read_texts(numbers)
    for row, text in enumerate(texts):
        assert ids[starts[row] : starts[row + 1]].tolist() == find_token_ids(text).tolist()
    return dict(zip(texts, reader.read_labels()[:].tolist(), strict=True))


def test_each_row_is_held_out_once_and_the_others_stay_what_they_are(tmp_path: Path) -> None:
    whole = make_shards(tmp_path / "shards", ROWS)
    participating = dict([*ROWS["train"], *ROWS["validation"]])
    held_out: dict[Text, int] = {}
    for fold in (1, 2, 3):
        output = tmp_path / f"fold-{fold}"
        content = fold_step.run(whole, 3, fold, output)
        shards = open_shards(output)
        assert shards.content == content
        test = read_rows(shards, "test")
        assert not held_out.keys() & test.keys()
        held_out |= test
        validation = read_rows(shards, "validation")
        assert validation == {text: label for text, label in ROWS["validation"] if text not in test}
        train = shards.open_split("train")
        expected = [(text, label) for text, label in ROWS["train"] if text not in test]
        assert train.read_labels()[:].tolist() == [label for _, label in expected]
        ids, starts = train.read_flat(range(len(train)))
        for row, (text, _) in enumerate(expected):
            assert ids[starts[row] : starts[row + 1]].tolist() == find_token_ids(text).tolist()
        with pytest.raises(DataError, match="keeps no texts"):
            train.read_texts([0])
        assert content.splits["train"].files == tuple(
            f"train-{number:05d}.arrow" for number in range(-(-len(expected) // 7))
        )
    assert held_out == participating


def test_equal_inputs_give_equal_shards_and_other_folds_others(tmp_path: Path) -> None:
    whole = make_shards(tmp_path / "shards", ROWS)
    digests = []
    for name, folds, fold in (("a", 3, 1), ("b", 3, 1), ("c", 3, 2), ("d", 2, 1)):
        fold_step.run(whole, folds, fold, tmp_path / name)
        digests.append(open_shards(tmp_path / name).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_equal_texts_of_both_splits_are_in_one_fold(tmp_path: Path) -> None:
    """Fault K3."""
    rows: Rows = {**ROWS, "validation": [*ROWS["validation"], ("TRAIN 5", 1), ("train   5", 0)]}
    whole = make_shards(tmp_path / "shards", rows)
    for fold in (1, 2, 3):
        fold_step.run(whole, 3, fold, tmp_path / f"{fold}")
        test = read_rows(open_shards(tmp_path / f"{fold}"), "test")
        assert len({"train 5", "TRAIN 5", "train   5"} & test.keys()) in (0, 3)


def test_pairs_stay_pairs(tmp_path: Path) -> None:
    rows: Rows = {
        name: [((str(text), f"answer {text}"), label) for text, label in given]
        for name, given in ROWS.items()
    }
    whole = make_shards(tmp_path / "shards", rows)
    content = fold_step.run(whole, 2, 1, tmp_path / "fold")
    reader = open_shards(tmp_path / "fold").open_split("test")
    assert content.inputs == ("text", "text_pair")
    assert all(pair[1] == f"answer {pair[0]}" for pair in reader.read_texts(range(len(reader))))


def test_stratified_folds_have_equal_shares_of_each_class(tmp_path: Path) -> None:
    rows: Rows = {
        "train": [*number_rows("train", 40), *((f"odd {n}", 0) for n in range(20))],
        "validation": number_rows("validation", 20),
        "test": (),
    }
    whole = make_shards(tmp_path / "shards", rows)
    counts = [
        fold_step.run(whole, 5, fold, tmp_path / f"{fold}", stratify=True)
        .splits["test"]
        .class_counts
        for fold in range(1, 6)
    ]
    assert counts == [{"calm": 10, "loud": 6}] * 5


def test_notes_are_about_the_fold(tmp_path: Path) -> None:
    about_splits = "the test split has no rows of loud"
    rows: Rows = {**ROWS, "test": [("only", 0)]}
    whole = make_shards(tmp_path / "shards", rows, notes=["3 rows were left out", about_splits])
    content = fold_step.run(whole, 2, 1, tmp_path / "fold")
    assert content.notes == ["3 rows were left out"]


@pytest.mark.parametrize(
    ("rows", "folds", "stratify", "error", "message"),
    [
        pytest.param(
            {**ROWS, "train": [*ROWS["train"]], "validation": [("one", 0)]},
            2,
            False,
            DataError,
            r"fold \d of 2 leaves no validation rows; .*data\.validation_fraction",
            id="no-validation",
        ),
        pytest.param(
            {**ROWS, "train": [(f"x {n}", 0) for n in range(12)]},
            2,
            True,
            DataError,
            r"fold 1 of 2 leaves training rows of one class only \(calm\)",
            id="one-class",
        ),
        pytest.param(
            {"train": [(f"t {n}", n > 2) for n in range(40)], "validation": [("v", 1), ("w", 1)]},
            4,
            True,
            ConfigError,
            r"4 folds with data\.stratify need 4 .* 'calm' has 3; use at most 3 folds",
            id="rare-class",
        ),
    ],
)
def test_data_that_are_too_few_are_refused(
    tmp_path: Path, rows: Rows, folds: int, stratify: bool, error: type[Exception], message: str
) -> None:
    """Fault K4."""
    whole = make_shards(tmp_path / "shards", rows)
    with pytest.raises(error, match=message):
        for fold in range(1, folds + 1):
            fold_step.run(whole, folds, fold, tmp_path / f"{fold}", stratify=stratify)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_shards_without_texts_and_numbers_that_are_no_fold_are_refused(tmp_path: Path) -> None:
    whole = make_shards(tmp_path / "shards", ROWS, keep_texts=False)
    with pytest.raises(DataError, match=r"set tokenize\.keep_texts=true"):
        fold_step.run(whole, 2, 1, tmp_path / "fold")
    for folds, fold in ((2, 3), (2, 0), (1, 1)):
        with pytest.raises(ConfigError, match="numbered from 1, and are 2 or more"):
            fold_step.run(whole, folds, fold, tmp_path / "fold")
    assert {*SPLITS} and not (tmp_path / "fold").exists()
