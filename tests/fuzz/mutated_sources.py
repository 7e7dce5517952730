"""Hypothesis strategies for source files as people bring them: written in many dialects, damaged.

A document is made of rows first, so that most of it is well-formed; then some of its bytes are
changed, and it is read with options that may or may not be those it was written with.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

COLUMNS = ("title", "description", "label")
WORDS = (
    "plain words", "naïve café", "日本語", "ไทย", "a\u0300", "\u200b", " ", "", "\x00", "\x1b[31m",
    "\ud800", "\ufeff", 'say "so"', "back\\slash", "one, two", "semi; colon", "tab\there",
    "two\nlines", "two\r\nlines", "x" * 300, "NaN", "null", "=1+1", "\u2028", "\x85", "😀",
)  # fmt: skip
LABELS = (
    "a", "b", "A", "a ", "\uff41", "-1", "0", "1", "2", "007", "7", "1.5", "1e5", "1e999", "0x10",
    "nan", "inf", "", " ", "a|b", "a,b", "a;b", "[]", "true", "9" * 400, "x" * 300, "\x1b[2J",
    "\u0661", "1_000", "+1", "\ud800", "\x00", "\u202e", "None",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2.0, 1.5, 1e300, 10**30, float("nan"), float("inf"), [], ["a"],
    ["a", "b"], {}, {"a": 1}, [[1]],
)  # fmt: skip
TOKENS = (
    b'"', b'""', b"\\", b'\\"', b",", b";", b"\t", b"|", b"\n", b"\r\n", b"\r", b"\x00", b"\xff",
    b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b"\xc3", b"\x1f\x8b",
    b"PAR1", b"PK\x03\x04", b"1e999", b'"label":', b"\\ud800", b"NaN", b"\x80", b"9" * 5000,
    b"[" * 3000,
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "windows-1252", "shift_jis")

texts = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=20), st.text(alphabet='ab ,;|\t"\\\n', max_size=20)
)
labels = st.one_of(st.sampled_from(["a", "b"]), st.sampled_from(LABELS), st.text(max_size=6))


class SourceDocument(NamedTuple):
    """A file's name and bytes, and the values of the `data` section to read it with."""

    name: str
    content: bytes
    options: dict[str, Any]


@st.composite
def source_documents(draw: st.DrawFn) -> SourceDocument:
    """Documents of every format, damaged or not, with options that may or may not fit."""
    kind = draw(st.sampled_from(["csv", "csv", "tsv", "jsonl", "json", "parquet"]))
    rows = _draw_rows(draw, with_odd_values=kind in ("jsonl", "json", "parquet"))
    if kind in ("csv", "tsv"):
        content = _write_delimited(draw, rows, "\t" if kind == "tsv" else ",")
    elif kind == "parquet":
        content = _write_parquet(rows)
    else:
        content = _write_json(draw, rows, kind == "json")
    content = draw(damage_bytes(content))
    name = f"rows.{kind}"
    if draw(st.integers(0, 9)) == 0:
        name, content = f"{name}.gz", draw(damage_bytes(gzip.compress(content)))
    return SourceDocument(name, content, _draw_options(draw))


@st.composite
def damage_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with up to four changes: bytes flipped, cut out, repeated or inserted."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4]))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        change = draw(st.sampled_from(["flip", "cut", "repeat", "insert", "truncate"]))
        if change == "flip" and start < len(content):
            flipped = bytes([content[start] ^ (1 << draw(st.integers(0, 7)))])
            content = content[:start] + flipped + content[start + 1 :]
        elif change == "cut":
            content = content[:start] + content[end:]
        elif change == "repeat":
            content = content[:end] + content[start:end] * draw(st.integers(1, 50)) + content[end:]
        elif change == "insert":
            content = content[:start] + draw(st.sampled_from(TOKENS)) + content[start:]
        else:
            content = content[:start]
    return content


def _draw_rows(draw: st.DrawFn, with_odd_values: bool) -> list[list[Any]]:
    title: st.SearchStrategy[Any] = texts
    label: st.SearchStrategy[Any] = labels
    if with_odd_values and draw(st.booleans()):
        title = st.one_of(texts, texts, st.sampled_from(ODD_VALUES))
        label = st.one_of(labels, st.sampled_from(ODD_VALUES))
    elif draw(st.booleans()):
        label = st.sampled_from(draw(st.lists(labels, min_size=2, max_size=3)))
    rows = draw(st.lists(st.tuples(title, texts, label), max_size=12))
    return [[*row] for row in rows] * draw(st.sampled_from([1, 1, 5]))


def _write_delimited(draw: st.DrawFn, rows: list[list[Any]], delimiter: str) -> bytes:
    if draw(st.booleans()):
        delimiter = draw(st.sampled_from([",", ";", "|", "\t", ":"]))
    quoting: Literal[0, 1, 3] = draw(
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
    )
    is_doubled = quoting != csv.QUOTE_NONE and draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"])) if quoting != csv.QUOTE_NONE else "\n"
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=delimiter,
        quoting=quoting,
        doublequote=is_doubled,
        escapechar=None if is_doubled else "\\",
        lineterminator=(delimiter if draw(st.integers(0, 9)) == 0 else "") + end,
    )
    for row in [[*COLUMNS], *rows][draw(st.integers(0, 1)) :]:
        writer.writerow(row)
    return _encode(draw, stream.getvalue())


def _write_json(draw: st.DrawFn, rows: list[list[Any]], is_array: bool) -> bytes:
    names = draw(st.sampled_from([COLUMNS, COLUMNS, COLUMNS, ("text", "body", "class")]))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    is_ascii = draw(st.booleans())
    if is_array:
        indent = draw(st.sampled_from([None, 2]))
        return _encode(draw, json.dumps(records, ensure_ascii=is_ascii, indent=indent))
    lines = [json.dumps(record, ensure_ascii=is_ascii) for record in records]
    return _encode(draw, "\n".join(lines) + "\n")


def _write_parquet(rows: list[list[Any]]) -> bytes:
    values_of = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * 3, strict=True))
    sink = io.BytesIO()
    try:
        table = pa.table({name: pa.array(values) for name, values in values_of.items()})
        pq.write_table(table, sink)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError):
        strings = {
            name: pa.array([str(value).encode(errors="replace") for value in values], pa.binary())
            for name, values in values_of.items()
        }
        sink = io.BytesIO()
        pq.write_table(pa.table(strings), sink)
    return sink.getvalue()


def _encode(draw: st.DrawFn, text: str) -> bytes:
    encoding = draw(st.sampled_from(["utf-8"] * 6 + [*ENCODINGS]))
    if draw(st.booleans()):
        return text.encode(encoding, errors="replace")
    return text.encode("utf-8", errors="surrogatepass")


def _draw_options(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {
        "text": draw(st.sampled_from([("title", "description"), ("title",)]))
    }
    choices: dict[str, list[Any]] = {
        "format": ["csv", "tsv", "jsonl", "parquet"],
        "encoding": [*ENCODINGS],
        "delimiter": [",", ";", "tab", "|"],
        "quoting": ["none"],
        "escape": ["backslash"],
        "classes": [("a", "b"), ("0", "1"), ("-1", "1"), ("x", "y", "z")],
        "max_classes": [2, 5],
        "max_bad_rows": [1, 5, 1000],
    }
    for name, values in choices.items():
        if draw(st.integers(0, 7)) == 0:
            options[name] = draw(st.sampled_from(values))
    if draw(st.integers(0, 7)) == 0:
        options |= {"header": False, "text": ("0", "1"), "label": draw(st.sampled_from("0129"))}
    elif draw(st.integers(0, 15)) == 0:
        options["label"] = draw(st.sampled_from(["title", "Label", "missing", "\x1b[0m"]))
    return options
