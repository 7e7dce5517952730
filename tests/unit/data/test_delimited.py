"""CSV in chunks gives what the csv module gives row by row, however the text is cut and quoted."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data.readers import text_chunks
from components.data.readers.delimited import (
    DelimitedReader,
    describe_field_count,
    split_quoted_columns,
)
from components.data.readers.dialect import Dialect
from components.data.rows import MalformedRow, Row
from tests.support.rows import list_rows

FIELDS = st.text(alphabet='ab,"\n\r', max_size=4)
LOOSE = st.text(alphabet='ab,"\n\r', max_size=60)
QUOTED = st.lists(st.tuples(FIELDS, FIELDS), max_size=20).map(
    lambda rows: "".join(
        '"{}","{}"\n'.format(*(field.replace('"', '""') for field in row)) for row in rows
    )
)


def one_by_one(text):
    """The rows after the header, each taken from the csv module alone."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    next(reader)
    number = 1
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield MalformedRow(number, line, "quotes that do not match")
        else:
            if not fields:
                continue
            yield (
                Row(number, line, fields)
                if len(fields) == 2
                else MalformedRow(number, line, describe_field_count(len(fields), 2))
            )
        number += 1


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500, deadline=None
)
@given(parts=st.lists(st.one_of(QUOTED, LOOSE), max_size=4), size=st.sampled_from([1, 7, 40, 1000]))
def test_rows_and_lines_are_those_of_the_csv_module(tmp_path, monkeypatch, parts, size):
    monkeypatch.setattr(text_chunks, "CHUNK_CHARACTERS", size)
    text = "one,two\n" + "".join(parts)
    (tmp_path / "a.csv").write_bytes(text.encode())
    reader = DelimitedReader(tmp_path / "a.csv", "a.csv", Dialect(","), header=True)
    assert list_rows(reader.read(["one", "two"])) == list(one_by_one(text))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        pytest.param('"a","b"\n"c","d"\n', [["a", "c"], ["b", "d"]], id="line-feed"),
        pytest.param('"a","b"\r\n"c,\n","d"', [["a", "c,\n"], ["b", "d"]], id="no-last-line-end"),
        pytest.param('"a","b"\nc,"d"\n', None, id="a-field-without-quotes"),
        pytest.param(
            '"a","""b"" ""c"""\n"""","d"\n', [["a", '"'], ['"b" "c"', "d"]], id="quotes-in-fields"
        ),
        pytest.param('"a",""\n"","d"', [["a", ""], ["", "d"]], id="empty-fields"),
        pytest.param('"a", "b"\n', None, id="space-between"),
        pytest.param('"a","b"\n\n"c","d"\n', None, id="blank-line"),
        pytest.param('"a","b","c"\n', None, id="too-many-fields"),
        pytest.param('"a";"b"\n', None, id="another-delimiter"),
        pytest.param('"a","b"\n"c","', None, id="cut-in-a-field"),
        pytest.param("", None, id="empty"),
    ],
)
def test_only_plainly_quoted_text_is_split_at_its_quotes(text, columns):
    assert split_quoted_columns(text, ",", 2) == columns


def test_a_single_quoted_column():
    assert split_quoted_columns('"a"\n"b"\n', ",", 1) == [["a", "b"]]
