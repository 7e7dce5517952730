"""Pairs of texts: read from all formats, rejected by column, identified by both texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.data import DataConfig
from components.config.loading import validate_config
from components.data.labelled_text import open_dataset
from components.data.read_stats import ReadStats
from components.data.source_validation import validate_sources
from components.data.splits import hash_texts
from components.data.text_columns import Text
from components.errors import ConfigError, DataError

HEADER = ("question", "answer", "label")
ROWS: list[tuple[str, ...]] = [(f"who {i}?", f"they {i}", ("yes", "no")[i % 2]) for i in range(40)]


def configure(source: Path, **options: Any) -> DataConfig:
    given = {"source": str(source), "text_pair": ["question", "answer"], **options}
    return validate_config({"data": given}).data


def write_csv(path: Path, rows: list[tuple[str, ...]], delimiter: str = ",") -> Path:
    lines = [delimiter.join(row) for row in [HEADER, *rows]]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(data: DataConfig) -> tuple[list[Text], ReadStats]:
    with open_dataset(data) as dataset:
        examples = dataset.read_examples()
        return [text for batch in examples for text in batch.texts], examples.stats


def write_json_lines(path: Path, rows: list[tuple[str, ...]]) -> Path:
    records = [dict(zip(HEADER, row, strict=True)) for row in rows]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def write_parquet(path: Path, rows: list[tuple[str, ...]]) -> Path:
    columns = dict(zip(HEADER, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param("rows.csv", write_csv, id="csv"),
        pytest.param("rows.tsv", lambda path, rows: write_csv(path, rows, "\t"), id="tsv"),
        pytest.param("rows.csv", lambda path, rows: write_csv(path, rows, ";"), id="semicolons"),
        pytest.param("rows.jsonl", write_json_lines, id="json-lines"),
        pytest.param("rows.parquet", write_parquet, id="parquet"),
    ],
)
def test_a_row_is_a_pair_in_the_configured_order(tmp_path: Path, name: str, write: Any) -> None:
    texts, _ = read(configure(write(tmp_path / name, ROWS)))
    assert texts == [(question, answer) for question, answer, _ in ROWS]
    swapped, _ = read(configure(tmp_path / name, text_pair=["answer", "question"]))
    assert swapped[0] == ("they 0", "who 0?")


def test_a_blank_text_is_rejected_with_its_column(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "rows.csv", [*ROWS, ("who?", " ", "yes"), ("", "they", "no")])
    with pytest.raises(DataError) as caught:
        read(configure(source))
    assert "2 x blank text" in str(caught.value)
    assert "row 41 (line 42): answer: blank text" in str(caught.value)
    assert "row 42 (line 43): question: blank text" in str(caught.value)
    texts, stats = read(configure(source, max_bad_rows=2))
    assert (len(texts), stats.rejected.counts.total()) == (40, 2)


def test_a_missing_second_column_names_the_columns_that_are_there(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "rows.csv", ROWS)
    data = configure(source, text_pair=["question", "reply"])
    for check in (read, validate_sources):
        with pytest.raises(DataError, match=r"no column 'reply'; columns: 'question', 'answer'"):
            check(data)


def test_json_lines_that_all_lack_one_of_the_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"question": "who?", "label": "a"}) for _ in range(9)))
    with pytest.raises(DataError, match="no column 'answer'"):
        validate_sources(configure(path))


@pytest.mark.parametrize("answer", [{}, {"answer": None}], ids=["missing", "null"])
def test_a_json_row_without_one_of_the_texts_is_not_called_blank(
    tmp_path: Path, answer: dict[str, None]
) -> None:
    path = write_json_lines(tmp_path / "rows.jsonl", ROWS)
    row = json.dumps({"question": "who?", "label": "yes", **answer})
    path.write_text(f"{path.read_text()}\n{row}\n")
    with pytest.raises(DataError) as caught:
        read(configure(path))
    assert "row 41 (line 41): answer: no text (no such key, or null)" in str(caught.value)
    assert "blank" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        pytest.param(("a b", "c"), ("A  b", " C "), True, id="case-and-spaces"),
        pytest.param(("a b", "c"), ("a", "b c"), False, id="another-border"),
        pytest.param(("a", "b"), ("b", "a"), False, id="another-order"),
        pytest.param(("a", "b"), ("a", "d"), False, id="another-second-text"),
        pytest.param(("é", "b"), ("e\u0301", "b"), True, id="composition"),
        pytest.param(("a\x1f", "b"), ("a", "\x1fb"), True, id="separator-is-white-space"),
    ],
)
def test_a_pair_is_identified_by_both_texts(
    one: tuple[str, str], other: tuple[str, str], is_equal: bool
) -> None:
    first, second = hash_texts([one, other])
    assert bool(first == second) is is_equal


def test_only_rows_with_both_texts_of_a_test_row_are_its_duplicates(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "train.csv", ROWS)
    test = [ROWS[0], (ROWS[1][0], "another", "yes"), ("another?", ROWS[2][1], "no")]
    test_source = write_csv(tmp_path / "test.csv", test)
    _, stats = read(configure(source, test_source=str(test_source)))
    assert stats.duplicates_of_test.total() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"text_pair": ["question"]}, "two different columns", id="one-column"),
        pytest.param({"text_pair": ["a", "b", "c"]}, "two different columns", id="three-columns"),
        pytest.param({"text_pair": ["a", "a"]}, "two different columns", id="twice-the-same"),
        pytest.param({"text_pair": "question"}, "two different columns", id="a-text"),
        pytest.param(
            {"text_pair": ["a", "b"], "text": ["c"]}, "exclude each other", id="and-single-texts"
        ),
    ],
)
def test_options_that_name_no_pair_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_config({"data": options})


@pytest.mark.parametrize(
    ("columns", "inputs"),
    [
        pytest.param(None, ("text",), id="single-texts"),
        pytest.param(["question", "answer"], ("question", "answer"), id="names"),
        pytest.param(["0", "1"], ("text", "text_pair"), id="numbered-columns"),
        pytest.param(["question", "the answer"], ("text", "text_pair"), id="a-space"),
    ],
)
def test_the_inputs_of_the_served_model(columns: list[str] | None, inputs: tuple[str, ...]) -> None:
    assert validate_config({"data": {"text_pair": columns}}).data.inputs == inputs


def test_the_sample_says_nothing_by_one_of_its_texts_alone() -> None:
    """Every question has as many rows of either class, so that the pair decides."""
    with open_dataset(configure(Path("sample:pairs"))) as dataset:
        counts: dict[str, list[int]] = {}
        for batch in dataset.read_examples():
            for text, label in zip(batch.texts, batch.labels, strict=True):
                assert not isinstance(text, str)
                counts.setdefault(text[0], [0, 0])[label] += 1
    assert dataset.rows == 1200
    assert all(first == second for first, second in counts.values())
