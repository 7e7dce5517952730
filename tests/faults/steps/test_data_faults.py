"""Damaged shards and hostile data: an error, or a documented outcome for each row."""

import json
import random
import unicodedata

import pytest
import tensorflow as tf

from components.artifacts.token_shards import open_shards
from components.data.split_names import SPLITS, SplitName
from components.data.splits import hash_texts
from components.errors import DataError
from components.model.tokenizer import WordPiece
from tests.support.source_files import GOOD, csv_of, tokenize


@pytest.fixture(scope="module")
def shards_bytes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    tokenize(directory, csv_of(GOOD))
    return {path.name: path.read_bytes() for path in (directory / "shards").iterdir()}


def truncate_file(files):
    files["train-00000.arrow"] = files["train-00000.arrow"][:-100]


def missing(files):
    del files["train-00001.arrow"]


def swap_files(files):
    files["train-00000.arrow"], files["train-00001.arrow"] = (
        files["train-00001.arrow"],
        files["train-00000.arrow"],
    )


def duplicate_file(files):
    files["train-00001.arrow"] = files["train-00000.arrow"]


def one_too_many(files):
    files["train-00009.arrow"] = files["train-00000.arrow"]


def one_bit(files):
    damaged = bytearray(files["test-00000.arrow"])
    damaged[len(damaged) // 2] ^= 1
    files["test-00000.arrow"] = bytes(damaged)


def other_vocabulary(files):
    files["vocab.txt"] = files["vocab.txt"].replace(b"number", b"humber")


def remove_manifest(files):
    del files["manifest.json"]


@pytest.mark.parametrize(
    "damage",
    [
        truncate_file,
        missing,
        swap_files,
        duplicate_file,
        one_too_many,
        one_bit,
        other_vocabulary,
        remove_manifest,
    ],
)
def test_damaged_shards_are_refused(tmp_path, shards_bytes, damage):
    """Fault D1."""
    files = dict(shards_bytes)
    damage(files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=str(tmp_path)):
        open_shards(tmp_path)


def test_another_vocabulary_is_noticed_unverified(tmp_path, shards_bytes):
    """Fault D1."""
    files = dict(shards_bytes)
    other_vocabulary(files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"vocab\.txt is not the vocabulary"):
        open_shards(tmp_path, verify=False)


def test_rows_missing_in_a_resealed_file_are_noticed(tmp_path, shards_bytes):
    """Fault D1: a split with missing rows is not opened, even without verification."""
    files = dict(shards_bytes)
    manifest = json.loads(files["manifest.json"])
    manifest["content"]["splits"]["train"]["files"].pop()
    files["manifest.json"] = json.dumps(manifest).encode()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="split train has"):
        open_shards(tmp_path, verify=False).open_split("train")


ODD = {
    "not-utf8": (b"caf\xe9 au lait", None, "text that is not UTF-8 or holds a lone surrogate"),
    "surrogate-as-utf8": (
        b"x \xed\xa0\x80 y",
        None,
        "text that is not UTF-8 or holds a lone surrogate",
    ),
    "nul": (b"a\0b", "a\0b", None),
    "embedded-newlines-and-quotes": (b'"one\n""two""\r\nthree"', 'one\n"two"\r\nthree', None),
    "quotes-that-do-not-match": (b'"one" two', None, "quotes that do not match"),
    "a-comma-too-many": (b"one, two", None, "3 fields instead of 2"),
    "10-mb-line": (b"word " * 2_000_000, "word " * 2_000_000, None),
    "control-characters-only": (b"\x01\x02\xe2\x80\x8b", None, "blank text"),
}


@pytest.mark.parametrize(("raw", "kept", "reason"), ODD.values(), ids=ODD.keys())
def test_an_odd_row_is_kept_or_rejected_with_its_reason(tmp_path, raw, kept, reason):
    """Fault D2."""
    lines = [
        b"text,label",
        *(f"{text},{label}".encode() for text, label in GOOD),
        raw + b",a",
        b"last row,b",
    ]
    source = b"\n".join(lines) + b"\n"
    # A test source keeps every text, whichever split its hash would give.
    (tmp_path / "test.csv").write_bytes(source)
    shards = tokenize(
        tmp_path, csv_of(GOOD), test_source=str(tmp_path / "test.csv"), max_bad_rows=1
    )
    texts = shards.open_split("test").read_texts(range(shards.content.splits["test"].rows))
    assert texts == [text for text, _ in GOOD] + ([] if kept is None else [kept]) + ["last row"]
    assert shards.content.refused == ({} if reason is None else {reason: 1})
    if reason is not None:
        assert f"{tmp_path}/test.csv, row 201 (line 202): " in shards.content.refused_examples[0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: "\ufeff" + text, id="byte-order-mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="crlf"),
        pytest.param(lambda text: text.replace("\n", "\r"), id="cr"),
        pytest.param(lambda text: text.replace("\n", "\n\n"), id="blank-lines"),
        pytest.param(lambda text: text.removesuffix("\n"), id="no-last-line-end"),
    ],
)
def test_how_lines_end_and_begin_changes_no_row(tmp_path, shards_bytes, change):
    """Fault D2."""
    shards = tokenize(tmp_path, change(csv_of(GOOD)))
    assert {
        name: shards.directory.joinpath(name).read_bytes()
        for name in shards_bytes
        if name != "manifest.json"
    } == {name: content for name, content in shards_bytes.items() if name != "manifest.json"}


def test_a_lone_surrogate_in_json_rejects_its_row(tmp_path):
    """Fault D2."""
    rows = [*GOOD, ("\ud83d alone", "a"), ("\ud83d\ude00 a pair", "b")]
    content = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    shards = tokenize(tmp_path, content, name="rows.jsonl", max_bad_rows=1)
    assert shards.content.refused == {"text that is not UTF-8 or holds a lone surrogate": 1}
    assert sum(info.rows for info in shards.content.splits.values()) == 201


def test_random_bytes_never_crash_it(tmp_path):
    """Fault D2."""
    rng = random.Random(7)
    for attempt in range(30):
        noise = bytes(rng.choices(b'ab,"\n\r\0\xff\xc3\xa9 {}1', k=rng.randint(0, 400)))
        start = b"text,label\n" if attempt % 2 else b""
        name = "noise.csv" if attempt % 3 else "noise.jsonl"
        with pytest.raises(DataError) as caught:
            tokenize(tmp_path, start + noise, name=name, classes=("a", "b"))
        assert len(str(caught.value).splitlines()) < 25


LABELS = {
    "out-of-range": ("5", "label out of range"),
    "zero-in-1-to-k": ("0", "label out of range"),
    "negative": ("-1", "negative label"),
    "fractional": ("1.5", "fractional label"),
    "missing": ("", "missing label"),
    "unknown-name": ("Sport", "unknown label"),
    "not-finite": ("inf", "unknown label"),
}


@pytest.mark.parametrize(("label", "reason"), LABELS.values(), ids=LABELS.keys())
def test_a_label_that_is_none_is_refused_with_file_and_row(tmp_path, label, reason):
    """Fault D3."""
    test = csv_of([("x", "1"), ("bad row", label)])
    (tmp_path / "test.csv").write_text(test)
    rows = csv_of([(text, "1234"[i % 4]) for i, (text, _) in enumerate(GOOD)])
    classes = ("w", "x", "y", "z")
    shown = f" {label!r}" if label else ""
    with pytest.raises(
        DataError,
        match=rf"1 x {reason}{shown}\n"
        rf"  {tmp_path}/test\.csv, row 2 \(line 3\): label: {reason}{shown}\n.*from 1 to 4",
    ):
        tokenize(tmp_path, rows, classes=classes, test_source=str(tmp_path / "test.csv"))
    assert not (tmp_path / "shards").exists()


def test_no_label_outside_the_classes_reaches_a_shard(tmp_path):
    """Fault D3."""
    rows = [
        *GOOD,
        *((f"odd {i}", label) for i, label in enumerate(["c", "-1", "2", "", "1e9", "0.5"])),
    ]
    shards = tokenize(tmp_path, csv_of(rows), classes=("a", "b"), max_bad_rows=6)
    assert {
        label for name in SPLITS for label in shards.open_split(name).read_labels()[:].tolist()
    } == {0, 1}
    assert sum(shards.content.refused.values()) == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "the file is empty", id="empty-file"),
        pytest.param("text,label\n", "holds no rows", id="header-only"),
        pytest.param(
            csv_of([("  ", "ab"[i % 2]) for i in range(9)]), "9 x blank text", id="blank-texts"
        ),
        pytest.param(
            csv_of([(f"word {i}", "ab"[i % 2]) for i in range(4)]),
            "split is empty",
            id="empty-split",
        ),
    ],
)
def test_nothing_to_learn_or_to_test_stops_here(tmp_path, content, message):
    """Fault D4."""
    with pytest.raises(DataError, match=f"rows.csv.*{message}|{message}"):
        tokenize(tmp_path, content)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("classes", [None, ("a", "b")], ids=["found", "listed"])
def test_one_class_only_is_refused(tmp_path, classes):
    """Fault D5."""
    with pytest.raises(DataError, match=r"only one class \(a\)"):
        tokenize(tmp_path, csv_of([(text, "a") for text, _ in GOOD]), classes=classes)


def test_a_class_missing_in_test_is_noted(tmp_path):
    """Fault D5."""
    (tmp_path / "test.csv").write_text(csv_of([("only this", "a")]))
    shards = tokenize(tmp_path, csv_of(GOOD), test_source=str(tmp_path / "test.csv"))
    assert shards.content.notes == ["the test split has no rows of b"]
    assert shards.content.splits["test"].class_counts == {"a": 1, "b": 0}


def test_one_text_is_never_in_two_splits(tmp_path):
    """Fault D6."""
    variants = [
        *GOOD,
        *((text.upper(), label) for text, label in GOOD),
        *((f"  {text}\u00a0", label) for text, label in GOOD),
    ]
    shards = tokenize(tmp_path, csv_of(variants))
    kept: dict[SplitName, set[int]] = {}
    held_out: tuple[SplitName, ...] = ("validation", "test")
    for name in held_out:
        split = shards.open_split(name)
        kept[name] = {*hash_texts(split.read_texts(range(len(split)))).tolist()}
    assert not kept["validation"] & kept["test"]
    assert sum(info.rows for info in shards.content.splits.values()) == 600
    for name, hashes in kept.items():
        assert shards.content.splits[name].rows == 3 * len(hashes)


def test_the_same_text_in_a_given_test_split_is_counted(tmp_path):
    """Fault D6."""
    (tmp_path / "test.csv").write_text(csv_of([(text.upper(), label) for text, label in GOOD[:20]]))
    shards = tokenize(tmp_path, csv_of(GOOD), test_source=str(tmp_path / "test.csv"))
    counted = {note.split(" rows")[0] for note in shards.content.notes}
    assert sum(int(note.split()[0]) for note in counted) == 20


HARD = [
    "wait… what",
    "ﬁnal ﬂight ﬀ",
    "cafe\u0301 e\u0301\u0323",
    "[CLS] a [SEP] b [PAD][MASK] ##ing",
    "İstanbul \u0131I Straße ΣΑΣ",
    "中文 and 日本語 ภาษาไทย हिन्दी",
    "👩‍👩‍👧‍👦 👍🏽 \U0001f9ff",
    "\u200bzero\u200dwidth\u00ad\ufeff",
    "a\0b\x7fc\u2028d",
    "\ue000 \U0010ffff \ufffd",
    "x" * 5000,
    "n't don\u2019t \u2018quoted\u2019 — dash",
]


def test_offline_ids_equal_serving_ids(tmp_path):
    """Fault D7."""
    rng = random.Random(3)
    points = [
        chr(point)
        for point in range(0x20, 0x30000)
        if unicodedata.category(chr(point)) not in ("Cs", "Cn")
    ]
    texts = [
        *HARD,
        *("a" + "".join(rng.choices(points, k=30)).replace('"', "") for _ in range(500)),
    ]
    (tmp_path / "test.csv").write_text(
        csv_of([('"' + text + '"', "a") for text in texts]), newline="", encoding="utf-8"
    )
    shards = tokenize(tmp_path, csv_of(GOOD), test_source=str(tmp_path / "test.csv"))
    split = shards.open_split("test")
    assert split.read_texts(range(len(split))) == texts

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.wordpiece = WordPiece(shards.vocabulary)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def ids(self, given):
            return self.wordpiece(given, shards.content.max_length).to_tensor(
                shards.vocabulary.pad_id
            )

    tf.saved_model.save(Served(), str(tmp_path / "saved"))
    served = tf.saved_model.load(str(tmp_path / "saved")).ids(tf.constant(texts)).numpy()
    assert (served == split.read_padded(range(len(split)), served.shape[1])).all()


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "@SUM(A1)",
        "-2+3",
        '"a,b"',
        '"say ""x"""',
        '"a\tb;c|d"',
        "'single",
        "#39;s quot;x &lt;",
    ],
)
def test_text_is_kept_as_it_is(tmp_path, text):
    """Fault D8."""
    (tmp_path / "test.csv").write_text(csv_of([(text, "a")]))
    shards = tokenize(tmp_path, csv_of(GOOD), test_source=str(tmp_path / "test.csv"))
    kept = text[1:-1].replace('""', '"') if text.startswith('"') else text
    assert shards.open_split("test").read_texts([0]) == [kept]
