"""LabelledDataset: which rows are examples, in which split, and how the others are reported."""

from collections import Counter
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.schema import DataConfig
from components.data.labelled_text import open_dataset
from components.data.read_stats import MAX_REPORTED_ROWS
from components.data.readers.text_chunks import NOT_UNICODE
from components.data.text_columns import BLANK, NOT_TEXT
from components.errors import ConfigError, DataError
from tests.support.examples import list_examples


def source(path, rows, header="title,description,label"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def many(count, start=0):
    return [f"title {i},description {i},{'ab'[i % 2]}" for i in range(start, start + count)]


def read(max_bad_rows=0, **options):
    with open_dataset(DataConfig(**{"max_bad_rows": max_bad_rows, **options})) as dataset:
        examples = dataset.read_examples()
        return list_examples(examples), examples.stats, dataset


def test_columns_are_joined_by_one_space_and_texts_are_kept_to_the_letter(tmp_path):
    rows = ['=SUM(A1),"a ""b"", c\\n",a', ',"  two  spaces ",b', '"x\ny",,a']
    examples, *_ = read(source=source(tmp_path / "a.csv", rows))
    assert [example.text for example in examples] == [
        '=SUM(A1) a "b", c\\n',
        "  two  spaces ",
        "x\ny",
    ]


def test_more_rows_move_no_old_row_and_duplicates_stay_together(tmp_path):
    before, *_ = read(source=source(tmp_path / "a.csv", many(300)))
    after, *_ = read(
        source=source(
            tmp_path / "b.csv", [row.upper()[:-1] + row[-1] for row in many(300)] + many(600)
        )
    )
    split_of = {example.text: example.split for example in after}
    assert {split_of[example.text] == example.split for example in before} == {True}
    assert {split_of[example.text.upper()] == example.split for example in before} == {True}
    assert {example.split for example in before} == {"train", "validation", "test"}


def test_a_test_source_is_the_whole_test_split(tmp_path):
    examples, stats, dataset = read(
        source=source(tmp_path / "a.csv", many(100)),
        test_source=source(tmp_path / "t.csv", many(20, start=95)),
    )
    assert Counter(example.split == "test" for example in examples) == {True: 20, False: 100}
    assert [example.text for example in examples[:20]] == [
        f"title {i} description {i}" for i in range(95, 115)
    ]
    assert stats.duplicates_of_test.total() == 5
    assert dataset.rows == 120


@pytest.mark.parametrize("has_test_source", [False, True], ids=["test-rows", "test-source"])
def test_stratified_splits_hold_every_row_and_the_shares_of_each_class(tmp_path, has_test_source):
    rows = [f"title {i},text,{'common' if i % 10 else 'rare'}" for i in range(200)]
    options = {"source": source(tmp_path / "a.csv", [*rows, ",,rare", "title 7,text,rare"])}
    if has_test_source:
        options["test_source"] = source(tmp_path / "t.csv", ["a test,text,rare"])
    examples, stats, dataset = read(max_bad_rows=1, stratify=True, **options)
    assert stats.rejected.counts.total() == 1
    rare = dataset.labels.classes.index("rare")
    found = Counter((example.split, example.label == rare) for example in examples)
    shares = {("validation", False): 18, ("train", False): 162, ("test", True): 1}
    if not has_test_source:
        shares = {("test", False): 36, ("validation", False): 14, ("test", True): 4}
    assert {key: found[key] for key in shares} == pytest.approx(shares, abs=1)
    assert 2 <= found["validation", True] <= 3
    assert len({example.split for example in examples if example.text == "title 7 text"}) == 1
    again, *_ = read(max_bad_rows=1, stratify=True, **options)
    assert again == examples


def test_the_test_source_follows_the_numbering_of_the_training_source(tmp_path):
    train = source(tmp_path / "a.csv", [f"t,{i},{1 + i % 2}" for i in range(50)])
    test = source(tmp_path / "t.csv", ["t,x,1", "t,y,1"])
    examples, *_ = read(source=train, test_source=test, classes=("x", "y"))
    assert {example.label for example in examples if example.split == "test"} == {0}
    bad = source(tmp_path / "u.csv", ["t,x,0"])
    with pytest.raises(
        DataError,
        match=r"u\.csv, row 1 \(line 2\): label: label out of range '0'\n"
        "A label must be a whole number from 1 to 2",
    ):
        read(source=train, test_source=bad, classes=("x", "y"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(",,a", BLANK, id="empty"),
        pytest.param(" \t,\u00a0\u200b\u0001,a", BLANK, id="invisible"),
        pytest.param("x,y,", "missing label", id="missing-label"),
        pytest.param("x,y,c", "unknown label", id="unknown-label"),
        pytest.param("x,y", "2 fields instead of 3", id="field-missing"),
    ],
)
def test_rejected_rows_are_counted_and_listed_with_file_and_row(tmp_path, row, reason):
    path = source(tmp_path / "a.csv", [*many(3), row, *many(2)])
    examples, stats, _ = read(source=path, max_bad_rows=1, classes=("a", "b"))
    assert len(examples) == 5
    assert stats.rejected.counts == {reason: 1}
    assert stats.rejected.examples[0].startswith(f"{path}, row 4 (line 5): ")
    with pytest.raises(
        DataError, match=rf"1 rows rejected, data\.max_bad_rows allows 0: 1 x {reason}.*\n  .*row 4"
    ):
        read(source=path, classes=("a", "b"))


def test_all_refused_rows_are_counted_before_the_run_is_refused(tmp_path):
    path = source(tmp_path / "a.csv", [*many(10), *[",,a"] * 100, *many(5), *["x,y,"] * 50])
    with pytest.raises(DataError) as caught:
        read(source=path, max_bad_rows=7)
    message = str(caught.value)
    assert (
        "150 rows rejected, data.max_bad_rows allows 7: 100 x blank text, 50 x missing label"
        in message
    )
    assert message.count("row ") == MAX_REPORTED_ROWS


def test_rows_after_too_many_refused_ones_are_only_counted(tmp_path):
    path = source(tmp_path / "a.csv", [*many(10), ",,a", *many(50), ",,b"])
    with open_dataset(DataConfig(source=path)) as dataset:
        batches = iter(dataset.read_examples())
        texts = next(batches).texts
        assert texts[:10] == [f"title {i} description {i}" for i in range(10)]
        with pytest.raises(DataError, match="2 rows rejected"):
            next(batches)


def test_the_statistics_are_those_of_the_latest_pass(tmp_path):
    path = source(tmp_path / "a.csv", [*many(10), ",,a"])
    with open_dataset(DataConfig(source=path, max_bad_rows=1)) as dataset:
        examples = dataset.read_examples()
        for _ in range(2):
            assert len(list_examples(examples)) == 10
            assert examples.stats.rejected.counts == {BLANK: 1}


def test_rows_are_never_shown(tmp_path):
    path = source(tmp_path / "a.csv", [*many(4), "my secret text,,nowhere", "my secret text"])
    with pytest.raises(DataError) as caught:
        read(source=path, classes=("a", "b"))
    assert "secret" not in str(caught.value)
    assert "label: unknown label 'nowhere'" in str(caught.value)


def test_texts_that_are_not_strings_or_not_unicode(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"t":"x","label":"a"}\n{"t":true,"label":"a"}\n{"t":"\\ud800","label":"b"}\n{"t":"y","label":"b"}\n',
        encoding="utf-8",
    )
    examples, stats, _ = read(source=str(path), text=("t",), max_bad_rows=2)
    assert [example.text for example in examples] == ["x", "y"]
    assert stats.rejected.counts == {NOT_TEXT: 1, NOT_UNICODE: 1}


def test_parquet_rows_have_numbers_but_no_lines(tmp_path):
    pq.write_table(pa.table({"t": ["x", "", "y"], "label": [0, 1, 1]}), tmp_path / "a.parquet")
    _, stats, _ = read(source=str(tmp_path / "a.parquet"), text=("t",), max_bad_rows=1)
    assert stats.rejected.examples == [f"{tmp_path}/a.parquet, row 2: t: blank text"]


def test_file_uris_and_a_set_format(tmp_path):
    path = source(tmp_path / "rows.dat", many(4))
    assert len(read(source=f"file://{path}", format="csv")[0]) == 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param(
            {"source": "nowhere.csv"},
            DataError,
            "nowhere.csv: No such file or directory; check data.source",
            id="missing",
        ),
        pytest.param({"source": "docker"}, ConfigError, "or name the data files", id="directory"),
        pytest.param({"source": "ab://host/a.csv"}, ConfigError, "unknown scheme", id="scheme"),
        pytest.param({"source": "https://host/a.csv"}, ConfigError, "download the file", id="web"),
        pytest.param(
            {"source": "s3://bucket"}, DataError, "names a bucket; name a file", id="bucket"
        ),
        pytest.param(
            {"source": "tfds:no_such_data_set_at_all"},
            DataError,
            "no such TensorFlow data set",
            id="tfds-unknown",
        ),
    ],
)
def test_sources_that_are_not_there(options, error, message):
    with pytest.raises(error, match=message):
        read(**options)


def test_a_data_set_that_is_not_prepared_names_the_option(tmp_path):
    with pytest.raises(
        DataError, match=rf"not prepared in {tmp_path}; leave data\.tfds_data_dir out"
    ):
        read(source="tfds:ag_news_subset", tfds_data_dir=str(tmp_path))


@pytest.mark.parametrize("content", ["", "title,description,label\n"], ids=["empty", "header-only"])
def test_a_source_without_rows(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=r"a\.csv: (the file is empty|holds no rows)"):
        read(source=str(tmp_path / "a.csv"))


def prepare(directory, rows):
    """What preparing a TensorFlow data set leaves behind: records and their description."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "title": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["World", "Sports"]),
        }
    )
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name="tiny_news", filetype_suffix="tfrecord"
    )
    directory.mkdir(parents=True)
    splits = []
    for split, count in rows.items():
        examples = [
            features.serialize_example(
                features.encode_example({"title": f"ünï {i}", "label": i % 2})
            )
            for i in range(count)
        ]
        with tf.io.TFRecordWriter(
            str(directory / f"tiny_news-{split}.tfrecord-00000-of-00001")
        ) as writer:
            for example in examples:
                writer.write(example)
        size = sum(map(len, examples))
        splits.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[count],
                num_bytes=size,
                filename_template=template.replace(split=split),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=directory, features=features, split_infos=splits, check_data=False
    )


def test_a_prepared_data_set_keeps_its_test_split_and_its_class_names(tmp_path):
    prepare(tmp_path / "tiny_news" / "1.0.0", {"train": 40, "test": 3})
    examples, stats, dataset = read(
        source="tfds:tiny_news", tfds_data_dir=str(tmp_path), text=("title",)
    )
    assert dataset.labels.classes == ("World", "Sports")
    assert Counter(example.split == "test" for example in examples) == {True: 3, False: 40}
    assert {example.text for example in examples} == {f"ünï {i}" for i in range(40)}
    assert all(example.label == int(example.text[4:]) % 2 for example in examples)
    assert stats.duplicates_of_test.total() == 3
    with pytest.raises(DataError, match="no column 'body'; columns: label, title"):
        read(source="tfds:tiny_news", tfds_data_dir=str(tmp_path), text=("body",))


def test_a_data_set_is_built_once_for_all_its_splits(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    prepare(tmp_path / "tiny_news" / "1.0.0", {"train": 40, "test": 3})
    build = Mock(wraps=tfds.builder)
    monkeypatch.setattr(tfds, "builder", build)
    read(source="tfds:tiny_news", tfds_data_dir=str(tmp_path), text=("title",))
    assert build.call_count == 1


def test_a_split_that_a_data_set_lacks_is_named_with_those_it_has(tmp_path):
    prepare(tmp_path / "tiny_news" / "1.0.0", {"extra": 4, "test": 3})
    with pytest.raises(DataError, match="tiny_news: has no split 'train'; splits: extra, test"):
        read(source="tfds:tiny_news", tfds_data_dir=str(tmp_path), text=("title",))


def test_labels_are_not_spoken_of_where_they_are_not_at_fault(tmp_path):
    with pytest.raises(DataError, match="1 rows rejected") as refused:
        read(source=source(tmp_path / "a.csv", [*many(3), ",,a"]), classes=("a", "b"))
    assert "A label must be" not in str(refused.value)
