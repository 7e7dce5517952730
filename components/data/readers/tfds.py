"""TensorFlow Datasets reader: the prepared splits of a `tfds:NAME` source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.readers.text_chunks import decode_value
from components.data.rows import MAX_BATCH_ROWS, RowBatch, RowStream, Source
from components.errors import DataError
from components.storage.atomic_files import file_sha256

TFDS_PREFIX = "tfds:"


def open_tfds_source(uri: str, label: str, data_dir: str | None) -> Source:
    """Return the data set with one reader per split and the class names of the column `label`.

    Without `data_dir` the data set is downloaded and prepared if need be. Raises DataError if it
    does not exist, is not prepared in `data_dir`, or cannot be downloaded. No split is selected
    yet: see `Source.select_split`.
    """
    import tensorflow_datasets as tfds

    builder = _prepare_builder(uri, data_dir)
    features = builder.info.features
    feature = features[label] if label in features else None  # noqa: SIM401 - not a dict, has no get
    names = feature.names if isinstance(feature, tfds.features.ClassLabel) else None
    splits = {split: TfdsReader(builder, uri, split) for split in builder.info.splits}
    return Source(
        uri,
        next(iter(splits.values())),
        _digest_directory(Path(builder.data_dir)),
        tuple(names) if names else None,
        splits=splits,
    )


@dataclass(frozen=True)
class TfdsReader:
    """Reads one split of a prepared TensorFlow data set, in the order in which it is stored."""

    builder: Any
    uri: str
    split: str

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns; DataError for a column of lists or records."""
        features = self.builder.info.features
        for column in columns:
            if column not in features:
                raise DataError(
                    f"{self.uri}: no column {column!r}; columns: {', '.join(sorted(features))} "
                    "(options data.text, data.text_pair, data.label and data.time_column)"
                )
            if features[column].shape != ():
                raise DataError(
                    f"{self.uri}: column {column!r} holds lists or records, not plain values"
                )
        examples = self.builder.as_dataset(split=self.split, shuffle_files=False).map(
            lambda example: tuple(example[column] for column in columns)
        )
        number = 1
        for batch in examples.batch(MAX_BATCH_ROWS).as_numpy_iterator():
            rows = len(batch[0])
            values = ([decode_value(value) for value in column.tolist()] for column in batch)
            yield RowBatch(
                range(number, number + rows), [0] * rows, dict(zip(columns, values, strict=True))
            )
            number += rows


def _prepare_builder(uri: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    location = f" in {data_dir}" if data_dir else ""
    try:
        builder = tfds.builder(uri.removeprefix(TFDS_PREFIX), data_dir=data_dir)
    except Exception as error:
        raise DataError(
            f"{uri}: no such TensorFlow data set{location}: {_first_line(error)}"
        ) from None
    if builder.info.splits:
        return builder
    if data_dir:
        raise DataError(
            f"{uri}: not prepared{location}; leave data.tfds_data_dir out to have it downloaded"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise DataError(
            f"{uri}: cannot be downloaded and prepared: {_first_line(error)}; "
            "prepare it on a machine with access and set data.tfds_data_dir, or use a file"
        ) from None
    return builder


def _digest_directory(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
