"""Rows come back from shards exactly as they were written, over several files and batches."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from components.artifacts.manifest import staged_artifact
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards, open_shards
from components.artifacts.vocabulary import Vocabulary
from components.data.split_names import SPLITS
from components.errors import DataError
from tests.support.token_rows import list_token_ids

VOCABULARY = Vocabulary(
    tokens=("[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "##b", "ü"), lower_case=True
)
CLASSES = ("x", "y")


def rows_of(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 7, rng.integers(2, 12)).astype(np.int32) for _ in range(count)]


def write(output, rows, shard_rows=4, batch=3, vocabulary_size=7, keep_texts=False):
    with staged_artifact(output) as directory:
        splits = {}
        for split in SPLITS:
            writer = ShardWriter(
                directory, split, vocabulary_size, CLASSES, shard_rows, keep_texts=keep_texts
            )
            for start in range(0, len(rows), batch):
                part = rows[start : start + batch]
                labels = [(start + i) % 2 for i in range(len(part))]
                texts = [f"text {start + i}" for i in range(len(part))]
                writer.add_rows(
                    np.concatenate(part), np.cumsum([0, *map(len, part)]), labels, texts
                )
            splits[split] = writer.close()
        content = ShardsContent(
            classes=CLASSES,
            vocabulary_sha256=VOCABULARY.sha256,
            lower_case=True,
            encoder="scratch",
            max_length=16,
            splits=splits,
            source_sha256="0" * 64,
        )
        commit_shards(directory, VOCABULARY, content, {"source": "0" * 64}, {})
    return output


@pytest.mark.parametrize(
    ("count", "shard_rows", "batch"), [(10, 4, 3), (10, 100, 3), (10, 1, 10), (8, 4, 8), (1, 1, 1)]
)
def test_rows_come_back(tmp_path, count, shard_rows, batch):
    rows = rows_of(count)
    shards = open_shards(write(tmp_path / "shards", rows, shard_rows, batch))
    split = shards.open_split("test")
    assert len(split) == count
    assert len(split.info.files) == -(-count // shard_rows)
    assert split.read_lengths().tolist() == [len(row) for row in rows]
    assert split.read_lengths().dtype == split.read_labels()[:].dtype == np.int32
    assert split.read_labels()[:].tolist() == [i % 2 for i in range(count)]
    order = np.random.default_rng(1).permutation(count)
    for got, index in zip(list_token_ids(split, order), order, strict=True):
        assert got.tolist() == rows[index].tolist()
        assert got.dtype == np.int32
    assert split.read_texts(order) == [f"text {index}" for index in order]


def test_padding_is_the_vocabularys_and_nothing_is_cut(tmp_path):
    rows = rows_of(10)
    split = open_shards(write(tmp_path / "shards", rows)).open_split("train")
    padded = split.read_padded([7, 0, 7], 12)
    assert padded.dtype == np.int32
    for line, index in zip(padded, [7, 0, 7], strict=True):
        assert line.tolist() == [
            *rows[index].tolist(),
            *[VOCABULARY.pad_id] * (12 - len(rows[index])),
        ]
    with pytest.raises(DataError, match="does not fit into 3"):
        split.read_padded([int(split.read_lengths().argmax())], 3)


def test_the_content_describes_the_rows(tmp_path):
    rows = rows_of(10)
    info = open_shards(write(tmp_path / "shards", rows)).content.splits["validation"]
    assert info.rows == 10
    assert info.tokens == sum(len(row) for row in rows)
    assert info.class_counts == {"x": 5, "y": 5}
    lengths = [len(row) for row in rows]
    assert info.length_histogram == {
        length: lengths.count(length) for length in sorted(set(lengths))
    }


def test_training_keeps_no_texts(tmp_path):
    with pytest.raises(DataError, match="keeps no texts"):
        open_shards(write(tmp_path / "shards", rows_of(3))).open_split("train").read_texts([0])


def test_training_keeps_its_texts_on_request(tmp_path):
    shards = open_shards(write(tmp_path / "shards", rows_of(10), keep_texts=True))
    order = [7, 0, 9]
    assert shards.open_split("train").read_texts(order) == ["text 7", "text 0", "text 9"]
    plain = open_shards(write(tmp_path / "plain", rows_of(10)))
    others = [name for name in plain.manifest.files if not name.startswith("train")]
    assert others and all(
        plain.manifest.files[name] == shards.manifest.files[name] for name in others
    )


def test_rows_are_read_one_after_the_other(tmp_path):
    rows = rows_of(10)
    split = open_shards(write(tmp_path / "shards", rows)).open_split("train")
    ids, row_splits = split.read_flat([7, 0, 7])
    assert ids.tolist() == [*rows[7], *rows[0], *rows[7]]
    assert row_splits.tolist() == np.cumsum([0, len(rows[7]), len(rows[0]), len(rows[7])]).tolist()
    empty, starts = split.read_flat([])
    assert (empty.tolist(), starts.tolist()) == ([], [0])


@pytest.mark.parametrize("index", [-1, 10])
def test_a_row_that_is_not_there(tmp_path, index):
    with pytest.raises(IndexError, match="rows 0 to 9"):
        open_shards(write(tmp_path / "shards", rows_of(10))).open_split("train").read_padded(
            [index], 12
        )


def test_nothing_asked_for_is_nothing(tmp_path):
    split = open_shards(write(tmp_path / "shards", rows_of(3))).open_split("test")
    assert (
        list_token_ids(split, []) == []
        and split.read_texts([]) == []
        and split.read_padded([], 5).shape == (0, 5)
    )


@pytest.mark.parametrize(("size", "kind"), [(65_536, pa.uint16()), (65_537, pa.int32())])
def test_ids_are_as_narrow_as_the_vocabulary_allows(tmp_path, size, kind):
    directory = write(
        tmp_path / "shards", [np.array([2, size - 1, 3], np.int32)], vocabulary_size=size
    )
    schema = pa.ipc.open_file(str(directory / "test-00000.arrow")).schema
    assert schema == pa.schema(
        [
            pa.field("input_ids", pa.list_(kind), nullable=False),
            pa.field("label", pa.int32(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
        ]
    )
    assert list_token_ids(open_shards(directory).open_split("test"))[0].tolist() == [2, size - 1, 3]


def test_rows_are_read_where_they_lie(tmp_path):
    split = open_shards(write(tmp_path / "shards", rows_of(10))).open_split("train")
    before = pa.total_allocated_bytes()
    split.read_padded(range(10), 12)
    assert pa.total_allocated_bytes() == before


def test_equal_shards_have_equal_digests_and_other_rows_another(tmp_path):
    digests = [
        open_shards(write(tmp_path / name, rows_of(5, seed))).digest
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        pytest.param(("[PAD]", "[UNK]", "[CLS]", "a"), r"has no \[SEP\]", id="special-missing"),
        pytest.param(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "a"), "a piece twice", id="doubled"),
        pytest.param(("[PAD]", "[UNK]", "[CLS]", "[SEP]", ""), "an empty piece", id="empty"),
    ],
)
def test_what_is_no_vocabulary(tokens, problem, tmp_path):
    with pytest.raises(ValidationError, match=problem):
        Vocabulary(tokens=tokens, lower_case=True)
    path = tmp_path / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    with pytest.raises(DataError, match=f"vocab.txt: .*{problem}"):
        Vocabulary.read(path, True)


def test_a_vocabulary_comes_back_and_case_is_part_of_it(tmp_path):
    VOCABULARY.write(tmp_path / "vocab.txt")
    assert Vocabulary.read(tmp_path / "vocab.txt", True) == VOCABULARY
    assert Vocabulary.read(tmp_path / "vocab.txt", True).sha256 == VOCABULARY.sha256
    assert Vocabulary.read(tmp_path / "vocab.txt", False).sha256 != VOCABULARY.sha256


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not-utf8"])
def test_a_vocabulary_file_that_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"vocab\.txt: "):
        Vocabulary.read(tmp_path / "vocab.txt", True)
