"""Every format gives the same rows with their numbers; odd files have the documented outcome."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.data import DataConfig
from components.data.readers import detect_format, open_file_reader
from components.data.readers.delimited import DelimitedReader
from components.data.readers.dialect import Dialect
from components.data.readers.jsonl import JsonReader
from components.data.readers.parquet import ParquetReader
from components.data.readers.text_chunks import MAX_LINE_CHARACTERS
from components.data.rows import MalformedRow, Row
from components.errors import ConfigError, DataError
from tests.support.rows import list_rows

COLUMNS = ["title", "label"]
ROWS = [
    ("plain", "a"),
    ('with "quotes", and\nline\r\nbreaks', "b"),
    ("=1+2\t;|", "a"),
    ("", "b"),
    ("ünï…😀", "a"),
]


def values(rows):
    return [tuple(row.values) for row in rows if isinstance(row, Row)]


def read_csv(path, columns=COLUMNS, delimiter=",", header=True):
    return list_rows(DelimitedReader(path, path.name, Dialect(delimiter), header).read(columns))


def read_json(path):
    return list_rows(JsonReader(path, path.name).read(COLUMNS))


def read_parquet(path, name="a"):
    return list_rows(ParquetReader(path, name).read(COLUMNS))


def quote_field(rows, delimiter):
    return "".join(
        delimiter.join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows
    )


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind, compressed):
    path = tmp_path / f"rows.{kind}"
    delimiter = "\t" if kind == "tsv" else ","
    if kind == "parquet":
        if compressed:
            pytest.skip("Parquet is compressed inside")
        pq.write_table(
            pa.table(
                {
                    "id": range(len(ROWS)),
                    "title": [r[0] for r in ROWS],
                    "label": [r[1] for r in ROWS],
                }
            ),
            path,
        )
    else:
        text = quote_field([("title", "label"), *ROWS], delimiter)
        if kind == "jsonl":
            text = "".join(
                json.dumps({"id": 1, "title": title, "label": label}) + "\n"
                for title, label in ROWS
            )
        path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    rows = list_rows(open_file_reader(path, "n", DataConfig(format=kind)).read(COLUMNS))
    assert values(rows) == ROWS
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]


def test_without_a_header_columns_are_numbered_and_the_first_row_is_data(tmp_path):
    path = write(tmp_path / "a.csv", '\n"3","x\ny"\n"4","z"\n')
    assert read_csv(path, ["1", "0"], header=False) == [
        Row(1, 2, ["x\ny", "3"]),
        Row(2, 4, ["z", "4"]),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            "title,label\nx,a,more\ny,b\n",
            [MalformedRow(1, 2, "3 fields instead of 2"), Row(2, 3, ["y", "b"])],
            id="too-many",
        ),
        pytest.param(
            "title,label\nx\ny,b\n",
            [MalformedRow(1, 2, "1 field instead of 2"), Row(2, 3, ["y", "b"])],
            id="too-few",
        ),
        pytest.param(
            'title,label\n"x"z,a\ny,b\n',
            [MalformedRow(1, 2, "quotes that do not match"), Row(2, 3, ["y", "b"])],
            id="after-quote",
        ),
        pytest.param(
            'title,label\ny,b\n"x,a\nz,a\n',
            [Row(1, 2, ["y", "b"]), MalformedRow(2, 3, "quotes that do not match")],
            id="open-quote",
        ),
        pytest.param(
            "title,label\r\nx,a\r\n\r\ny,b",
            [Row(1, 2, ["x", "a"]), Row(2, 4, ["y", "b"])],
            id="crlf-blank-line-no-end",
        ),
        pytest.param(
            "title,label\rx,a\ry,b\r", [Row(1, 2, ["x", "a"]), Row(2, 3, ["y", "b"])], id="cr"
        ),
        pytest.param("\ufefftitle,label\nx,a\n", [Row(1, 2, ["x", "a"])], id="byte-order-mark"),
        pytest.param("title,label\nx\0y,a\n", [Row(1, 2, ["x\0y", "a"])], id="nul"),
        pytest.param(
            b"title,label\nx\xff,a\ny,b\n",
            [Row(1, 2, ["x\udcff", "a"]), Row(2, 3, ["y", "b"])],
            id="not-utf8",
        ),
        pytest.param('title,label\nsay "x",a\n', [Row(1, 2, ['say "x"', "a"])], id="quotes-inside"),
    ],
)
def test_csv_outcome_of_odd_rows(tmp_path, content, expected):
    assert read_csv(write(tmp_path / "a.csv", content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            '{"title":"x","label":1}\n\n{oops\n',
            [Row(1, 1, ["x", 1]), MalformedRow(2, 3, "not JSON")],
            id="not-json",
        ),
        pytest.param(
            '{"title":"x","label":1}\n["x",1]\n',
            [Row(1, 1, ["x", 1]), MalformedRow(2, 2, "not a JSON object")],
            id="not-an-object",
        ),
        pytest.param(
            '{"label":1}\n{"title":"y","label":2}',
            [Row(1, 1, [None, 1]), Row(2, 2, ["y", 2])],
            id="field-missing-in-one-row",
        ),
        pytest.param(
            '{"title":"\\ud800","label":1}\n', [Row(1, 1, ["\ud800", 1])], id="lone-surrogate"
        ),
        pytest.param(
            "[" * 100_000 + "\n" + '{"title":"y","label":2}',
            [MalformedRow(1, 1, "not JSON"), Row(2, 2, ["y", 2])],
            id="too-deep",
        ),
    ],
)
def test_json_outcome_of_odd_rows(tmp_path, content, expected):
    assert read_json(write(tmp_path / "a.jsonl", content)) == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_wrong_column_is_named_with_the_columns_there_are(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "csv":
        write(path, "headline,label\nx,a\n")
    elif kind == "jsonl":
        write(path, '{"headline":"x","label":"a"}\n')
    else:
        pq.write_table(pa.table({"headline": ["x"], "label": ["a"]}), path)
    reader = open_file_reader(path, "a", DataConfig(format=kind))
    with pytest.raises(
        DataError, match=r"a: no column 'title'; columns: 'headline', 'label'.*data\.text"
    ):
        list(reader.read(COLUMNS))


def test_parquet_types_come_out_plain(tmp_path):
    table = pa.table(
        {
            "title": pa.array(["x", None, "y"]).dictionary_encode(),
            "label": pa.array([1.0, float("nan"), 2.5]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = values(read_parquet(tmp_path / "a.parquet"))
    assert [row[0] for row in rows] == ["x", None, "y"]
    assert rows[0][1] == 1.0
    assert rows[2][1] == 2.5


def test_parquet_row_that_is_not_utf8_does_not_hide_the_others(tmp_path):
    broken = pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"ok", b"\xff"], pa.binary()).buffers()
    )
    pq.write_table(pa.table({"title": broken, "label": ["a", "b"]}), tmp_path / "a.parquet")
    assert values(read_parquet(tmp_path / "a.parquet")) == [
        ("ok", "a"),
        ("\udcff", "b"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            gzip.compress(b"title,label\n" + b"x,a\n" * 9999)[:-30],
            "compression is damaged",
            id="cut-gzip",
        ),
        pytest.param("\n\n", "a.csv: the file is empty", id="blank-lines-only"),
        pytest.param(
            "title,title,label\nx,y,a\n", "2 columns are called 'title'", id="doubled-column"
        ),
        pytest.param(
            "title,label\nx," + "a" * MAX_LINE_CHARACTERS, "line 2: longer than", id="endless-line"
        ),
    ],
)
def test_files_that_stop_the_reading(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path / "a.csv", content))


@pytest.mark.parametrize("content", [b"PAR1nonsense", b"title,label\n"], ids=["damaged", "csv"])
def test_not_parquet(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        read_parquet(write(tmp_path / "a.parquet", content), "a.parquet")


def test_parquet_lists_are_refused(tmp_path):
    pq.write_table(pa.table({"title": [["x"]], "label": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'title' holds lists or records"):
        read_parquet(tmp_path / "a.parquet", "a.parquet")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.tsv.gz", "tsv"),
        ("x/a.ndjson", "jsonl"),
        ("gs://b/a.b.parquet", "parquet"),
    ],
)
def test_format_by_name(name, kind):
    assert detect_format(name) == kind


def test_an_unknown_ending_names_the_option():
    with pytest.raises(ConfigError, match=r"rows\.xlsx: .*set data\.format"):
        detect_format("rows.xlsx")
