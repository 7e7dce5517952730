"""The `data` section: where the labelled texts come from and how their rows are read."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Section

SAMPLE_SOURCE = "sample"
"""The value of `data.source` that means the built-in news items."""


class DataConfig(Section):
    """Where the labelled texts come from and how their rows are read."""

    source: str = Field(
        SAMPLE_SOURCE,
        min_length=1,
        description="CSV, TSV, JSON Lines or Parquet file (.gz too), local, gs:// or s3://; "
        "tfds:NAME for a TensorFlow dataset; or `sample`, the built-in news items",
    )
    test_source: str | None = Field(
        None,
        description="separate source of the test split; "
        "default: test rows are split off from `source`",
    )
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = Field(
        "auto", description="format of the files; auto: by the file name's extension"
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
    label: str = Field(
        "label",
        min_length=1,
        description="label column: class names, or integers (from 0; from 1 if `classes` is given "
        "and 0 does not occur)",
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="class names in label order; default: the classes of the training rows, sorted",
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
        gt=0,
        lt=0.5,
        description="fraction of the rows used for testing without `test_source`, chosen by a "
        "hash of the text",
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

    @field_validator("text", mode="before")
    @classmethod
    def _parse_columns(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str | int) else value
        return tuple(str(name) for name in names) if isinstance(names, Iterable) else names

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

    @field_validator("label", mode="before")
    @classmethod
    def _parse_label_column(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("classes")
    @classmethod
    def _check_distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or len(value) < 2):
            raise ValueError("needs at least two names, all different")
        return value
