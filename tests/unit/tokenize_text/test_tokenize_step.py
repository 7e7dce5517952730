"""The tokenize step end to end, with a vocabulary learned from the rows."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from components.artifacts.artifact import verify_artifact
from components.artifacts.token_shards import open_shards
from components.config.schema import (
    SAMPLE_SOURCE,
    DataConfig,
    ModelConfig,
    TaskConfig,
    TokenizeConfig,
)
from components.data.labelled_text import open_dataset
from components.data.split_names import SPLITS
from components.errors import ConfigError, DataError
from components.model.encoders import load_vocabulary
from components.model.tokenizer import WordPiece, train_vocabulary
from components.tokenize_text import text_batches, training_texts
from components.tokenize_text.step import run
from tests.support.splits import assign_split, hash_text
from tests.support.token_rows import list_token_ids

SCRATCH = ModelConfig(encoder="scratch", vocab_size=300, max_length=16)
CLASSES = ("sport", "world")


def rows_of(count, start=0):
    return [
        (f"Match {i} of the season", f"Goals in minute {i % 90} of game number {i}", CLASSES[i % 2])
        for i in range(start, start + count)
    ]


def source(path, rows):
    lines = ["title,description,label", *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_shards_hold_every_row_in_order_with_the_serving_ids(tmp_path):
    rows = rows_of(2500)
    data = DataConfig(source=source(tmp_path / "a.csv", rows))
    content = run(data, SCRATCH, TokenizeConfig(rows_per_shard=600), tmp_path / "shards")
    shards = open_shards(tmp_path / "shards")
    assert shards.content == content
    assert content.classes == CLASSES
    assert (content.encoder, content.max_length, content.refused, content.notes) == (
        "scratch",
        16,
        {},
        [],
    )
    assert content.vocabulary_sha256 == shards.vocabulary.sha256
    stored = shards.manifest.config
    assert stored["tokenize"] == {"shard_rows": 600}
    assert stored["model"]["vocabulary_size"] == 300
    wordpiece = WordPiece(shards.vocabulary)
    total = 0
    for name in SPLITS:
        texts = [
            f"{title} {text}"
            for title, text, _ in rows
            if assign_split(hash_text(f"{title} {text}"), 0.1, 0.2) == name
        ]
        split = shards.open_split(name)
        assert [row.tolist() for row in list_token_ids(split)] == wordpiece(
            tf.constant(texts), 16
        ).to_list()
        assert split.read_labels()[:].tolist() == [int(text.split()[1]) % 2 for text in texts]
        assert len(split.info.files) == -(-len(split) // 600)
        assert name == "train" or split.read_texts(range(len(split))) == texts
        total += len(split)
    assert total == 2500


def test_stratified_shards_are_others_and_plain_ones_do_not_know_the_option(tmp_path):
    file = source(tmp_path / "a.csv", rows_of(100))
    for stratify in (False, True):
        data = DataConfig(source=file, stratify=stratify)
        run(data, SCRATCH, TokenizeConfig(), tmp_path / str(stratify))
    plain, stratified = (open_shards(tmp_path / str(stratify)) for stratify in (False, True))
    assert "stratify" not in plain.manifest.config["data"]
    assert stratified.manifest.config["data"]["stratify"] is True
    counts = stratified.content.splits["test"].class_counts
    assert counts == dict.fromkeys(CLASSES, 10)


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(text_batches, "MAX_BATCH_ROWS", 40)
    data = DataConfig(source=source(tmp_path / "a.csv", rows_of(1000)))
    for threads in (1, 3):
        run(data, SCRATCH, TokenizeConfig(threads=threads), tmp_path / f"shards{threads}")
    assert open_shards(tmp_path / "shards1").digest == open_shards(tmp_path / "shards3").digest


def test_long_texts_fill_a_batch_before_its_rows_do(monkeypatch):
    monkeypatch.setattr(text_batches, "MAX_BATCH_CHARACTERS", 5)
    batch = text_batches.TextBatch("train")
    assert (batch.add_until_full(["a", "bb"], [0, 1]), batch.is_full) == (2, False)
    assert (batch.add_until_full(["cc", "d"], [2, 3]), batch.is_full) == (1, True)
    assert (batch.texts, batch.labels) == (["a", "bb", "cc"], [0, 1, 2])
    monkeypatch.setattr(text_batches, "MAX_BATCH_ROWS", 2)
    batch = text_batches.TextBatch("train")
    assert (batch.add_until_full(["a", "b", "c"], [0, 1, 2]), batch.is_full) == (2, True)


def test_the_vocabulary_is_learned_from_training_rows_alone(tmp_path):
    def split(row):
        return assign_split(hash_text(" ".join(row[:2])), 0.1, 0.2)

    seen = [
        row for i in range(60) if split(row := (f"shared {i}", "words", CLASSES[i % 2])) == "train"
    ]
    hidden = [
        row for i in range(60) if split(row := (f"zebra {i}", "zebra", CLASSES[i % 2])) != "train"
    ]
    rows = [*seen, *hidden]
    run(
        DataConfig(source=source(tmp_path / "a.csv", rows)),
        SCRATCH,
        TokenizeConfig(max_unknown=1.0),
        tmp_path / "all",
    )
    assert open_shards(tmp_path / "all").vocabulary == train_vocabulary(
        [" ".join(row[:2]) for row in seen], 300, True
    )


def test_a_vocabulary_is_learned_from_rows_all_over_a_large_source(tmp_path, monkeypatch):
    monkeypatch.setattr(training_texts, "MAX_VOCABULARY_TRAINING_ROWS", 100)
    data = DataConfig(source=source(tmp_path / "a.csv", rows_of(1000)))
    with open_dataset(data) as dataset:
        numbers = [int(text.split()[1]) for text in training_texts.TrainingTexts(dataset)]
    assert 65 < len(numbers) < 80
    assert min(numbers) < 20 and max(numbers) > 980


def test_a_pretrained_encoders_vocabulary_is_taken_as_it_is(tmp_path):
    data = DataConfig(source=source(tmp_path / "a.csv", rows_of(60)))
    model = ModelConfig(encoder="minilm", max_length=32)
    run(data, model, TokenizeConfig(), tmp_path / "shards")
    assert open_shards(tmp_path / "shards").vocabulary == load_vocabulary(model)


def test_the_sample_goes_through(tmp_path):
    content = run(DataConfig(source=SAMPLE_SOURCE), SCRATCH, TokenizeConfig(), tmp_path / "shards")
    assert content.classes == ("Business", "Sci/Tech", "Sports", "World")
    assert sum(info.rows for info in content.splits.values()) == 800
    assert not content.refused
    assert all(min(info.class_counts.values()) > 0 for info in content.splits.values())


def test_what_was_refused_and_noticed_is_written_down(tmp_path):
    rows = rows_of(200)
    train = source(tmp_path / "a.csv", [*rows, ("", " ", "sport"), ("x", "y", "")])
    test = source(tmp_path / "t.csv", [row for row in rows_of(10, start=195) if row[2] == "sport"])
    data = DataConfig(source=train, test_source=test, max_bad_rows=2)
    content = run(data, SCRATCH, TokenizeConfig(), tmp_path / "shards")
    assert content.refused == {"blank text": 1, "missing label": 1}
    assert content.refused_examples == [
        f"{train}, row 201 (line 202): title+description: blank text",
        f"{train}, row 202 (line 203): label: missing label",
    ]
    assert (
        content.notes[0]
        == "2 train rows have a text that is in the given test split, too; they were kept"
    )
    assert content.notes[-1] == "the test split has no rows of world"
    assert content.splits["test"].class_counts == {"sport": 5, "world": 0}
    assert set(verify_artifact(tmp_path / "shards").inputs) == {"source", "test_source"}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        pytest.param(
            rows_of(5),
            {"test_fraction": 0.01},
            r"the validation split is empty \(5 rows in all\); "
            r"give more rows, or a larger data\.validation_fraction",
            id="too-few-rows",
        ),
        pytest.param(
            rows_of(40), {"classes": ("sport", "film")}, "20 rows rejected", id="class-not-listed"
        ),
        pytest.param(
            [row for row in rows_of(400) if row[2] == "sport"],
            {"classes": CLASSES},
            r"only one class \(sport\) has training rows",
            id="one-class-of-those-listed",
        ),
    ],
)
def test_data_that_cannot_be_used_leaves_nothing_behind(tmp_path, rows, options, message):
    data = DataConfig(source=source(tmp_path / "a.csv", rows), **options)
    with pytest.raises(DataError, match=message):
        run(data, SCRATCH, TokenizeConfig(), tmp_path / "out" / "shards")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_all_rows_can_be_training_and_validation_rows_with_their_texts(tmp_path):
    rows = rows_of(200)
    data = DataConfig(source=source(tmp_path / "a.csv", rows), test_fraction=0)
    with pytest.raises(DataError, match=r"the test split is empty .*; give more rows, or a larger"):
        run(data, SCRATCH, TokenizeConfig(), tmp_path / "refused")
    content = run(data, SCRATCH, TokenizeConfig(keep_texts=True), tmp_path / "shards")
    shards = open_shards(tmp_path / "shards")
    assert content.splits["test"].rows == 0
    texts = [
        text
        for name in ("train", "validation")
        for text in shards.open_split(name).read_texts(range(content.splits[name].rows))
    ]
    assert sorted(texts) == sorted(f"{title} {text}" for title, text, _ in rows)


def test_an_empty_given_test_split_is_named(tmp_path):
    test = source(tmp_path / "t.csv", [("x", "y", "unheard-of")])
    data = DataConfig(
        source=source(tmp_path / "a.csv", rows_of(60)), test_source=test, max_bad_rows=5
    )
    with pytest.raises(
        DataError, match=r"the test split is empty .*; data\.test_source has no usable row"
    ):
        run(data, SCRATCH, TokenizeConfig(), tmp_path / "shards")


def test_progress_is_reported_in_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERT_PROGRESS", str(tmp_path / "progress"))
    monkeypatch.setattr(training_texts, "REPORT_INTERVAL_SECONDS", 0)
    run(
        DataConfig(source=source(tmp_path / "a.csv", rows_of(2500))),
        SCRATCH,
        TokenizeConfig(),
        tmp_path / "shards",
    )
    events = [json.loads(line) for line in (tmp_path / "progress").read_text().splitlines()]
    *messages, note = [event["message"] for event in events]
    assert messages == [
        "reading labels",
        *["learning the vocabulary"] * 6,
        *["tokenizing"] * 3,
    ]
    assert note.startswith("2,376 of 2,500 texts (95.0%) are longer than model.max_length 16")
    assert [event["done"] for event in events if event["message"] == "tokenizing"] == [
        0,
        1000,
        2000,
    ]


@pytest.mark.slow
def test_the_command_does_the_same_as_the_function(tmp_path):
    path = source(tmp_path / "a.csv", rows_of(60))
    run(DataConfig(source=path), SCRATCH, TokenizeConfig(), tmp_path / "here")
    options = [
        f"data.source={path}",
        "model.encoder=scratch",
        "model.vocab_size=300",
        "model.max_length=16",
    ]
    command = [
        sys.executable,
        "-m",
        "components.tokenize_text",
        "--output",
        str(tmp_path / "there"),
    ]
    subprocess.run(
        command + [part for option in options for part in ("--set", option)],
        check=True,
        capture_output=True,
    )
    assert open_shards(tmp_path / "here").digest == open_shards(tmp_path / "there").digest


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        pytest.param(
            ["data.source=nowhere.csv"],
            DataError.exit_code,
            "nowhere.csv: No such file or directory",
            id="data",
        ),
        pytest.param(
            ["data.sauce=x"], ConfigError.exit_code, "data.sauce: no such option", id="config"
        ),
    ],
)
def test_a_user_error_is_one_message_with_its_exit_code(tmp_path, options, code, message):
    command = [
        sys.executable,
        "-m",
        "components.tokenize_text",
        "--output",
        str(tmp_path / "shards"),
    ]
    ended = subprocess.run(
        command + [part for option in options for part in ("--set", option)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert (
        message in ended.stderr
        and "Traceback" not in ended.stderr
        and len(ended.stderr.splitlines()) < 20
    )


def test_a_vocabulary_that_does_not_fit_the_texts_stops_the_run(tmp_path):
    rows = [(f"text {i}", "\u0e44\u0e17\u0e22 words", CLASSES[i % 2]) for i in range(60)]
    data = DataConfig(source=source(tmp_path / "a.csv", rows))
    with pytest.raises(DataError, match=r"are \[UNK\], .*max_unknown allows 5\.0%; words such as"):
        run(data, ModelConfig(encoder="minilm"), TokenizeConfig(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run(data, ModelConfig(encoder="minilm"), TokenizeConfig(max_unknown=1.0), tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "labels", "note"),
    [
        pytest.param("multi_label", (["a"], ["b"]), "no row has more than one label", id="labels"),
        pytest.param("regression", (1e9, 1e9 + 1), "which has steps of 64 there", id="numbers"),
    ],
)
def test_what_a_kind_of_task_has_to_say_of_the_labels_is_noted(tmp_path, capfd, kind, labels, note):
    rows = [{"text": f"match {i}", "label": labels[i % 2]} for i in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = DataConfig(source=str(tmp_path / "a.jsonl"), text="text")
    content = run(data, SCRATCH, TokenizeConfig(), tmp_path / "shards", TaskConfig(kind=kind))
    assert [each for each in content.notes if note in each]
    assert note in capfd.readouterr().out
