"""Opens the source that a URI names: a local file, an object, a TensorFlow data set or the sample.

What is downloaded stays in a temporary directory until the source is closed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.config.schema import SAMPLE_SOURCE, DataConfig
from components.data.readers import open_file_reader
from components.data.readers.tfds import TFDS_PREFIX, open_tfds_source
from components.data.rows import Source
from components.data.sample import NEWS
from components.errors import DataError
from components.storage.atomic_files import file_sha256
from components.storage.store import open_store
from components.storage.uri import is_remote_uri, parse_uri


@contextmanager
def open_source(uri: str, data: DataConfig, splits: Sequence[str] = ("train",)) -> Iterator[Source]:
    """Open the source that `uri` names, read as `data` says.

    Of a source that defines splits, the first of `splits` that it has is selected. Raises
    DataError for a source that does not exist, is empty or has none of the splits, ConfigError
    for an unknown format.
    """
    if uri.startswith(TFDS_PREFIX):
        source = open_tfds_source(uri, data.label, data.tfds_data_dir)
        available = [split for split in splits if split in source.splits]
        yield source.select_split(available[0] if available else splits[-1])
        return
    with tempfile.TemporaryDirectory(prefix="kubert-source-") as temporary:
        path = NEWS if uri == SAMPLE_SOURCE else _ensure_local(uri, Path(temporary))
        file_format = "csv" if uri == SAMPLE_SOURCE else data.format
        yield Source(uri, open_file_reader(path, uri, file_format, data.header), file_sha256(path))


def _ensure_local(uri: str, temporary: Path) -> Path:
    if is_remote_uri(uri):
        scheme, bucket, key = parse_uri(uri)
        if not key:
            raise DataError(f"{uri}: names a bucket; name a file in it")
        path = temporary / "source"
        open_store(f"{scheme}://{bucket}").download(key, path)
    else:
        path = Path(uri.removeprefix("file://"))
    if path.is_dir():
        raise DataError(f"{uri}: is a directory; data.source and data.test_source name one file")
    try:
        with open(path, "rb") as stream:
            if not stream.read(1):
                raise DataError(f"{uri}: the file is empty")
    except OSError as error:
        raise DataError(
            f"{uri}: {error.strerror or error}; check data.source and data.test_source"
        ) from None
    return path
