"""The kinds of files that people bring are read as meant, or refused with the option that helps."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.data import DataConfig
from components.config.loading import validate_config
from components.data.labelled_text import LabelledDataset, open_dataset
from components.errors import ConfigError, DataError, KubertError

TOPICS = ("sport", "food", "travel")
TEXTS = [(f"title {i}", f"about {TOPICS[i % 3]} {i}", TOPICS[i % 3]) for i in range(30)]
HEADER = ("title", "description", "label")
RECORDS = [dict(zip(HEADER, row, strict=True)) for row in TEXTS]


def join_rows(rows: Sequence[tuple[str, ...]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


PLAIN = join_rows([HEADER, *TEXTS])


def read(source: Path | str | list[str], **options: Any) -> tuple[list[str], LabelledDataset, Any]:
    """The texts, the dataset and the statistics of its last pass."""
    names = source if isinstance(source, list) else str(source)
    data = validate_config({"data": {"source": names, **options}}).data
    with open_dataset(data) as dataset:
        examples = dataset.read_examples()
        texts = [str(text) for batch in examples for text in batch.texts]
        return texts, dataset, examples.stats


def error_of(source: Path | str | list[str], **options: Any) -> str:
    with pytest.raises(KubertError) as caught:
        read(source, **options)
    assert isinstance(caught.value, DataError | ConfigError)
    return str(caught.value)


EXPECTED = [f"{title} {text}" for title, text, _ in TEXTS]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


READ_AS_MEANT: dict[str, tuple[str, str | bytes, dict[str, Any]]] = {
    "semicolons": ("a.csv", join_rows([HEADER, *TEXTS], ";"), {}),
    "pipes": ("a.csv", join_rows([HEADER, *TEXTS], "|"), {}),
    "tabs-in-a-csv-file": ("a.csv", join_rows([HEADER, *TEXTS], "\t"), {}),
    "another-delimiter": ("a.csv", join_rows([HEADER, *TEXTS], "^"), {"delimiter": "^"}),
    "tab-by-name": ("a.csv", join_rows([HEADER, *TEXTS], "\t"), {"delimiter": "tab"}),
    "semicolons-without-header": (
        "a.csv",
        join_rows(TEXTS, ";"),
        {"header": False, "text": [0, 1], "label": 2},
    ),
    "json-array": (
        "a.json",
        json.dumps(RECORDS),
        {},
    ),
    "json-array-over-lines": (
        "a.json",
        json.dumps(RECORDS, indent=1),
        {},
    ),
    "json-lines-called-json": (
        "a.json",
        "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in TEXTS),
        {},
    ),
    "utf-8-with-mark": ("a.csv", codecs.BOM_UTF8 + PLAIN.encode(), {}),
    "utf-16-with-mark": ("a.csv", PLAIN.encode("utf-16"), {}),
    "utf-16-be-with-mark": ("a.csv", codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"), {}),
    "utf-32-with-mark": ("a.csv", PLAIN.encode("utf-32"), {}),
    "utf-16-compressed": ("a.csv.gz", gzip.compress(PLAIN.encode("utf-16")), {}),
    "utf-16-without-mark": ("a.csv", PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "json-array-in-utf-16": (
        "a.json",
        json.dumps(RECORDS).encode("utf-16"),
        {},
    ),
}


@pytest.mark.parametrize(("name", "content", "options"), READ_AS_MEANT.values(), ids=READ_AS_MEANT)
def test_a_file_is_read_as_meant(
    tmp_path: Path, name: str, content: str | bytes, options: dict[str, Any]
) -> None:
    texts, dataset, stats = read(write(tmp_path / name, content), **options)
    assert texts == EXPECTED
    assert dataset.labels.classes == ("food", "sport", "travel")
    assert not stats.rejected.counts


def test_a_found_delimiter_is_noted_and_a_configured_one_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", join_rows([HEADER, *TEXTS], ";"))
    _, found, _ = read(path)
    assert found.source.notes == (f"{path}: fields are separated by ';' (data.delimiter sets it)",)
    assert read(path, delimiter=";")[1].source.notes == ()
    assert read(write(tmp_path / "b.csv", PLAIN))[1].source.notes == ()


def test_commas_within_fields_do_not_make_the_comma_the_delimiter(tmp_path: Path) -> None:
    rows = [(f"one, two, {title}", text, label) for title, text, label in TEXTS]
    for options in ({}, {"header": False, "text": [0, 1], "label": 2}):
        content = join_rows([*([HEADER] if not options else []), *rows], ";")
        texts, *_ = read(write(tmp_path / "a.csv", content), **options)
        assert texts[0] == "one, two, title 0 about sport 0"


def test_quotes_escaped_by_a_backslash_are_read_with_an_option(tmp_path: Path) -> None:
    rows = [(title, f'"he said, \\"{text}\\""', label) for title, text, label in TEXTS]
    path = write(tmp_path / "a.csv", join_rows([HEADER, *rows]))
    texts, *_ = read(path, escape="backslash")
    assert texts[1] == 'title 1 he said, "about food 1"'
    message = error_of(path)
    assert "no label at all" in message and "30 of 30 rows: quotes that do not match" in message
    assert "row 1 (line 2)" in message and "set data.escape=backslash" in message


def test_quotes_are_ordinary_characters_with_an_option(tmp_path: Path) -> None:
    rows = [(title, f'"{text}" he said', label) for title, text, label in TEXTS]
    path = write(tmp_path / "a.tsv", join_rows([HEADER, *rows], "\t"))
    texts, *_ = read(path, quoting="none")
    assert texts[1] == 'title 1 "about food 1" he said'
    assert "set data.quoting=none" in error_of(path)


ENCODED = {
    "windows-1252": "café it\u2019s €5 naïve",
    "windows-1251": "быстрая лиса прыгает через собаку",
    "gb18030": "快速的棕色狐狸跳过懒狗",
    "shift_jis": "素早い茶色の狐はのろまな犬を飛び越える",
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_another_encoding_is_named_with_its_option(tmp_path: Path, encoding: str) -> None:
    rows = [(title, f"{ENCODED[encoding]} {text}", label) for title, text, label in TEXTS]
    path = write(tmp_path / "a.csv", join_rows([HEADER, *rows]).encode(encoding))
    texts, *_ = read(path, encoding=encoding)
    assert texts[0] == f"title 0 {ENCODED[encoding]} about sport 0"
    message = error_of(path)
    assert f"it looks like {encoding}: set data.encoding={encoding}" in message
    assert "leave them out" not in message
    assert "there is no row of" in message


def test_an_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", PLAIN.replace("title 0", "caf\xe9").encode("latin-1"))
    assert "check data.encoding" in error_of(path, encoding="utf-16")
    assert "data.encoding=ascii does not fit" in error_of(path, encoding="ascii")
    assert "no known text encoding" in error_of(path, encoding="utf-99")
    assert "no known text encoding" in error_of(path, encoding="base64")


def test_utf16_without_a_mark_is_named_with_its_option(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        path = write(tmp_path / "a.csv", PLAIN.encode(encoding))
        assert f"set data.encoding={encoding}" in error_of(path)


def test_a_field_too_many_in_each_row_is_counted_and_explained(tmp_path: Path) -> None:
    message = error_of(write(tmp_path / "a.csv", join_rows([HEADER]) + join_rows(TEXTS, end=",\n")))
    assert "30 of 30 rows: 4 fields instead of 3" in message
    assert "row 1 (line 2)" in message and "ends with a delimiter" in message


def test_one_class_is_explained_by_the_rows_that_were_lost(tmp_path: Path) -> None:
    rows = [row if row[2] == "food" else (*row, "more") for row in TEXTS]
    message = error_of(write(tmp_path / "a.csv", join_rows([HEADER, *rows])))
    assert "only one class (food)" in message
    assert "20 of 30 rows: 4 fields instead of 3" in message


def make_zip(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "xlsx": ("a.xlsx", make_zip("[Content_Types].xml"), "Excel .*; save the sheet as CSV"),
    "xlsx-called-csv": ("a.csv", make_zip("[Content_Types].xml"), "Excel"),
    "xls": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel"),
    "zip": ("a.zip", make_zip("train.csv"), "a zip archive; unpack it"),
    "zip-called-csv": ("a.csv", make_zip("train.csv"), "a zip archive; unpack it"),
    "bzip2": ("a.csv.bz2", b"BZh91AY", "bzip2; decompress it"),
    "zstd": ("a.csv.zst", b"\x28\xb5\x2f\xfd\x00", "zstd; decompress it"),
    "html": (
        "a.csv",
        b"\n<!DOCTYPE html><title>Sign in</title>",
        "an HTML page.*download it again",
    ),
    "pdf": ("a.pdf", b"%PDF-1.7", "a PDF"),
    "sqlite": ("a.db", b"SQLite format 3\0", "an SQLite database; export"),
    "empty": ("a.csv", b"", "the file is empty"),
    "unknown-suffix": ("a.data", b"x,y\n", "set data.format"),
    "one-json-object": (
        "a.json",
        json.dumps(
            {"data": [dict(zip(HEADER, row, strict=True)) for row in TEXTS]}, indent=1
        ).encode(),
        "one object per line, or is one array",
    ),
    "array-cut-off": ("a.json", b'[{"title":"x","label":"a"},', "line 1: the array is not JSON"),
    "array-without-comma": ("a.json", b'[{"title":"x"}\n{"title":"y"}]', "line 2: .* no comma"),
}


@pytest.mark.parametrize(("name", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_another_kind_of_file_is_refused_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises((DataError, ConfigError), match=f"{path.name}.*(?s:.*){message}"):
        read(path)


@pytest.mark.parametrize("value", [["a", "b"], {"name": "a"}], ids=["list", "record"])
def test_a_label_that_is_a_list_is_counted_and_explained(tmp_path: Path, value: Any) -> None:
    rows = [{"title": "x", "description": f"t {i}", "label": value} for i in range(20)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    message = error_of(path)
    assert "20 of 20 rows: label that is a list or a record" in message
    mixed = [row | {"label": TOPICS[i % 3]} if i else row for i, row in enumerate(rows)]
    write(path, "".join(json.dumps(row) + "\n" for row in mixed))
    message = error_of(path)
    assert "row 1 (line 1): label: label that is a list or a record" in message
    assert "A row has one label" in message


@pytest.mark.parametrize(
    ("labels", "separator"),
    [
        (["sport|extra", "food", "travel"], "|"),
        (["sport;food", "food", "sport"], ";"),
        (["sport, food", "food", "sport"], ","),
    ],
    ids=["pipe", "semicolon", "comma"],
)
def test_several_labels_in_one_field_are_refused_unless_classes_are_listed(
    tmp_path: Path, labels: list[str], separator: str
) -> None:
    rows = [(f"t{i}", f"text {i}", f'"{labels[i % 3]}"') for i in range(30)]
    path = write(tmp_path / "a.csv", join_rows([HEADER, *rows]))
    assert f"separated by '{separator}', such as '{labels[0]}'" in error_of(path)
    assert read(path, classes=labels)[1].labels.classes == tuple(labels)


def test_names_with_a_comma_are_names(tmp_path: Path) -> None:
    labels = ["Food, drinks", "Arts, books", "Travel"]
    rows = [(f"t{i}", f"text {i}", f'"{labels[i % 3]}"') for i in range(30)]
    path = write(tmp_path / "a.csv", join_rows([HEADER, *rows]))
    assert read(path)[1].labels.classes == tuple(sorted(labels))


def test_numbers_in_a_text_column_are_read_as_their_digits(tmp_path: Path) -> None:
    rows = [{"title": i, "description": i / 2, "label": TOPICS[i % 3]} for i in range(30)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    texts, _, stats = read(path)
    assert texts[3] == "3 1.5"
    assert stats.number_columns == {"title", "description"}
    table = pa.table({name: [row[name] for row in rows] for name in HEADER})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0] == texts


def write_parts(directory: Path, make: Callable[[Path, Sequence[tuple[str, ...]]], None]) -> None:
    directory.mkdir()
    for number in (2, 0, 1):
        make(directory / f"part-{number}", TEXTS[number * 10 : number * 10 + 10])
    (directory / "_SUCCESS").touch()
    (directory / ".part-0.crc").write_bytes(b"crc")


def write_csv_part(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    write(path.with_suffix(".csv"), join_rows([HEADER, *rows]))


def write_parquet_part(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    columns = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"))


@pytest.mark.parametrize("make", [write_csv_part, write_parquet_part], ids=["csv", "parquet"])
def test_several_files_are_one_source_in_the_order_of_their_names(
    tmp_path: Path, make: Callable[[Path, Sequence[tuple[str, ...]]], None]
) -> None:
    parts = tmp_path / "parts"
    write_parts(parts, make)
    files = sorted(str(path) for path in parts.glob("part-*"))
    texts, dataset, _ = read(parts)
    assert texts == EXPECTED
    assert [*dataset.source.file_digests] == files
    assert f"{parts}: 3 files are read, in this order: part-0" in dataset.source.notes[0]
    assert read(f"{parts}/part-*")[0] == EXPECTED
    assert read(files)[0] == EXPECTED
    assert read([files[0], f"{parts}/part-[12]*"])[0] == EXPECTED
    assert read(files)[1].source.sha256 == dataset.source.sha256


def test_a_rejected_row_of_several_files_is_located_in_its_file(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    write_parts(parts, write_csv_part)
    with (parts / "part-1.csv").open("a") as stream:
        stream.write(",,food\nx\n")
    message = error_of(parts)
    assert f"{parts}/part-1.csv, row 11 (line 12): title+description: blank text" in message
    assert f"{parts}/part-1.csv, row 12 (line 13): 1 field instead of 3" in message


def test_sources_that_name_no_file_or_one_twice_are_refused(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    write_parts(parts, write_csv_part)
    assert "no data file there" in error_of(f"{parts}/*.tsv")
    assert "nothing.csv: No such file or directory" in error_of(tmp_path / "nothing.csv")
    assert "named twice" in error_of([f"{parts}/part-0.csv", str(parts)])
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    assert "its directories are not searched, write" in error_of(tmp_path / "outer")
    write_parquet_part(parts / "part-3", TEXTS[:3])
    assert "files of several formats (csv, parquet)" in error_of(parts)


def test_a_file_that_is_trained_on_is_no_test_source(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    write_parts(parts, write_csv_part)
    message = error_of(parts, test_source=f"{parts}/part-0.csv")
    assert "is in data.source and in data.test_source" in message


def test_leaving_rows_out_is_not_advised_where_a_label_would_go(tmp_path: Path) -> None:
    rows = [*TEXTS, ("", "", "rare"), ("", "", "rare")]
    message = error_of(write(tmp_path / "a.csv", join_rows([HEADER, *rows])))
    assert "without them there is no row of 'rare'" in message
    assert "leave them out" not in message
    message = error_of(write(tmp_path / "a.csv", join_rows([HEADER, *TEXTS, ("", "", "food")])))
    assert "raise data.max_bad_rows to leave them out" in message


def test_more_than_a_thousand_classes_are_read_when_asked_for(tmp_path: Path) -> None:
    rows = [(f"t{i}", f"text {i}", f"class {i % 1200}") for i in range(3600)]
    path = write(tmp_path / "a.csv", join_rows([HEADER, *rows]))
    assert "more than 1000 different values" in error_of(path)
    assert "raise data.max_classes" in error_of(path)
    assert len(read(path, max_classes=1500)[1].labels.classes) == 1200


def test_the_sources_of_a_list_travel_through_a_pipeline_parameter() -> None:
    assert DataConfig(source='["a.csv", "b.csv"]').sources == ("a.csv", "b.csv")
    assert DataConfig(source=["a.csv"]).source == "a.csv"
    assert DataConfig(source="[a].csv").source == "[a].csv"
    with pytest.raises(ValueError, match="files, directories and patterns only"):
        DataConfig(source=["a.csv", "tfds:ag_news_subset"])
