"""The `data` section: where the labelled texts come from and how their rows are read."""

from __future__ import annotations

import codecs
import datetime
import json
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Section

SAMPLE_SOURCE = "sample"
"""The value of `data.source` that means the built-in news items."""
PAIR_SAMPLE_SOURCE = "sample:pairs"
"""The value of `data.source` that means the built-in questions with answers."""
LONG_SAMPLE_SOURCE = "sample:long"
"""The value of `data.source` that means the built-in minutes of meetings, which are long texts."""
TAG_SAMPLE_SOURCE = "sample:tickets"
"""The value of `data.source` that means the built-in support requests with several tags."""
NUMBER_SAMPLE_SOURCE = "sample:reviews"
"""The value of `data.source` that means the built-in hotel reviews with a rating."""
SAMPLE_SOURCES = (
    SAMPLE_SOURCE,
    PAIR_SAMPLE_SOURCE,
    LONG_SAMPLE_SOURCE,
    TAG_SAMPLE_SOURCE,
    NUMBER_SAMPLE_SOURCE,
)
SINGLE_INPUT = ("text",)
"""Name of the input of a model of single texts."""
PAIR_INPUTS = ("text", "text_pair")
"""Names of the inputs of a model of pairs whose columns have names that no input can have."""
TEXT_AND_PAIR = (
    "text and text_pair exclude each other; leave out `text`, or for single texts `text_pair`"
)
"""What is wrong with a section that names columns for single texts and for pairs."""
_INPUT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class DataConfig(Section):
    """Where the labelled texts come from and how their rows are read."""

    source: str | tuple[str, ...] = Field(
        SAMPLE_SOURCE,
        min_length=1,
        description="CSV, TSV, JSON or Parquet file (.gz too), a directory or a pattern such as "
        "part-*.csv, or a list of these; local, gs:// or s3://; tfds:NAME for a TensorFlow "
        "dataset; or `sample`, the built-in news items, `sample:pairs`, questions with answers, "
        "`sample:long`, minutes of meetings, `sample:tickets`, requests with several tags, or "
        "`sample:reviews`, texts with a number",
    )
    test_source: str | tuple[str, ...] | None = Field(
        None,
        description="separate source of the test split; "
        "default: test rows are split off from `source`",
    )
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = Field(
        "auto",
        description="format of the files; auto: by the file name's extension; jsonl also reads a "
        "JSON array of objects",
    )
    encoding: str | None = Field(
        None,
        description="text encoding of CSV, TSV and JSON files, such as windows-1252; default: "
        "UTF-8, or UTF-16 if the file begins with its byte order mark",
    )
    delimiter: str | None = Field(
        None,
        description="character between two fields (`tab` for a tab); default: a tab in TSV files; "
        "in CSV files the one of , ; | and tab that gives the columns",
    )
    quoting: Literal["minimal", "none"] = Field(
        "minimal",
        description="CSV and TSV: minimal: a field may be enclosed in double quotes; none: double "
        "quotes are ordinary characters",
    )
    escape: Literal["doubled", "backslash"] = Field(
        "doubled",
        description='CSV and TSV: how a quote is written in a quoted field: doubled: ""; '
        'backslash: \\", as Spark writes it; a backslash then escapes delimiters, too',
    )
    header: bool = Field(
        True,
        description="CSV and TSV: true: the first row names the columns; "
        "false: columns are numbered from 0",
    )
    text: tuple[str, ...] = Field(
        ("title", "description"),
        min_length=1,
        description="text columns, joined by one space in this order",
    )
    text_pair: tuple[str, str] | None = Field(
        None,
        description="instead of `text`: the two columns of a pair of texts, such as "
        "[question, answer]; the model reads both as two segments, and is served with an input "
        "for each",
    )
    label: str | tuple[str, ...] = Field(
        "label",
        min_length=1,
        description="label column: class names, or integers (from 0; from 1 if `classes` is given "
        "and 0 does not occur); with task.kind=multi_label lists of names, names joined by "
        "`task.separator`, or a list of columns, one for each label, that hold 0 or 1; with "
        "task.kind=regression numbers",
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="class names in label order; default: the classes of the training rows, sorted",
    )
    max_classes: int = Field(
        1000,
        ge=2,
        le=100_000,
        description="different labels above which the label column is refused as free text",
    )
    max_bad_rows: int = Field(
        0,
        ge=0,
        description="rows that may be rejected before the run stops; "
        "they are counted, and the first ones are shown",
    )
    validation_fraction: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="fraction of the training rows used for validation, chosen by a hash of the "
        "text",
    )
    test_fraction: float = Field(
        0.2,
        ge=0,
        lt=0.5,
        description="fraction of the rows used for testing without `test_source`, chosen by a "
        "hash of the text; 0: no test rows, for cross-validation over all rows only",
    )
    stratify: bool = Field(
        False,
        description="true: each split gets the same share of the different texts of every class; "
        "false: of all texts; the rows of `source` are read once more",
    )
    time_column: str | None = Field(
        None,
        min_length=1,
        description="column with each row's time (ISO 8601; UTC if it has no offset)",
    )
    window: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]*[hdw]$",
        description="only rows of `source` of this age are read, in hours, days or weeks before "
        "`end_time`, such as 30d; needs `time_column` and `end_time`",
    )
    end_time: str | None = Field(
        None,
        description="only rows of `source` before this time (ISO 8601) are read, by "
        "`time_column`; {date} in `source` is replaced by its day; a schedule sets it",
    )
    tfds_data_dir: str | None = Field(
        None,
        description="tfds: sources only: directory with prepared data; "
        "default: the dataset is downloaded and prepared",
    )

    @field_validator("source", "test_source", mode="before")
    @classmethod
    def _parse_sources(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("["):
            try:
                value = json.loads(value)  # how a list travels in a pipeline's parameter
            except ValueError:
                return value
        if not isinstance(value, list | tuple):
            return value
        if not value or not all(isinstance(name, str) and name for name in value):
            raise ValueError("needs at least one name; all of them are texts")
        is_special = [name in SAMPLE_SOURCES or name.startswith("tfds:") for name in value]
        if len(value) > 1 and any(is_special):
            raise ValueError("a list holds files, directories and patterns only")
        return value[0] if len(value) == 1 else tuple(value)

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str | None) -> str | None:
        try:
            is_text = value is None or codecs.lookup(value)._is_text_encoding
        except LookupError:
            is_text = False
        if not is_text:
            raise ValueError(
                "no known text encoding; use for example utf-8, utf-16, windows-1252, "
                "iso-8859-1, gb18030, shift_jis or koi8-r"
            )
        return value

    @field_validator("delimiter")
    @classmethod
    def _parse_delimiter(cls, value: str | None) -> str | None:
        delimiter = "\t" if value in ("tab", "\\t") else value
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\\'):
            raise ValueError("must be one character, or `tab`; no quote, backslash or line end")
        return delimiter

    @field_validator("text", mode="before")
    @classmethod
    def _parse_columns(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str | int) else value
        return _name_columns(names) if isinstance(names, Iterable) else names

    @field_validator("text_pair", mode="before")
    @classmethod
    def _parse_pair(cls, value: Any) -> Any:
        if value is None:
            return None
        names = _name_columns(value) if isinstance(value, list | tuple) else ()
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise ValueError(
                "needs the names of two different columns, such as [question, answer]; columns "
                "that are joined to one text are named by `text`"
            )
        return names

    @field_validator("end_time", mode="before")
    @classmethod
    def _parse_end_time(cls, value: Any) -> Any:
        if isinstance(value, datetime.date):  # what YAML makes of an unquoted time
            return value.isoformat()
        if isinstance(value, str):
            datetime.datetime.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _check_window(self) -> DataConfig:
        if self.window and not self.time_column:
            raise ValueError("window needs `time_column`, the column with each row's time")
        return self

    @model_validator(mode="after")
    def _check_one_kind_of_text(self) -> DataConfig:
        if self.text_pair and self.text != type(self).model_fields["text"].default:
            raise ValueError(TEXT_AND_PAIR)
        return self

    @field_validator("label", mode="before")
    @classmethod
    def _parse_label_columns(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        names = _name_columns(value)
        if len(names) < 2 or not all(names) or len({*map(str.strip, names)}) < len(names):
            raise ValueError(
                "a list names at least two different columns, one for each label, that hold 0 or "
                "1; one column with all labels is written without brackets"
            )
        return names

    @field_validator("classes", mode="before")
    @classmethod
    def _parse_classes(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(str(name) if isinstance(name, int | float) else name for name in value)

    @field_validator("classes")
    @classmethod
    def _check_distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or len(value) < 2):
            raise ValueError("needs at least two names, all different")
        if any(name != name.strip() or not name for name in value or ()):
            raise ValueError(
                "a name is blank, or has space around it, without which labels are read; leave it "
                "out"
            )
        return value

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that hold the texts: those of `text_pair`, or of `text`."""
        return self.text_pair or self.text

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold the labels: more than one if each says 0 or 1 of one label."""
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a served model's inputs: those of the pair's columns where they are names."""
        if self.text_pair is None:
            return SINGLE_INPUT
        are_names = all(_INPUT_NAME.fullmatch(name) for name in self.text_pair)
        return self.text_pair if are_names else PAIR_INPUTS

    @property
    def sources(self) -> tuple[str, ...]:
        """The names in `source`: one, or those of the list."""
        return list_sources(self.source)

    @property
    def test_sources(self) -> tuple[str, ...]:
        """The names in `test_source`, if it is given."""
        return list_sources(self.test_source)


def _name_columns(values: Iterable[Any]) -> tuple[str, ...]:
    """The names of columns, numbered ones as digits; ValueError for a value that is no name."""
    names = tuple(values)
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise ValueError(
                f"{name!r} is not the name of a column; quote names that YAML reads as something "
                'else, such as "yes" and "null"'
            )
    return tuple(map(str, names))


def list_sources(source: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names in the value of `data.source` or `data.test_source`."""
    if source is None:
        return ()
    return (source,) if isinstance(source, str) else source
