"""The files that a name in `data.source` stands for: one file, a directory's files, or a pattern's.

They are read in the order of their names, so that the order never depends on the file system.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.config.data import SAMPLE_SOURCE
from components.data.readers.tfds import TFDS_PREFIX
from components.errors import ConfigError, DataError
from components.storage.store import MissingError, Store, open_store
from components.storage.uri import is_remote_uri, parse_uri, without_credentials

MAX_FILES = 10_000
MAX_PARALLEL_DOWNLOADS = 4
_WILDCARD = re.compile(r"[*?\[]")
_WEB_SCHEMES = ("http://", "https://", "ftp://")
_IGNORED_PREFIXES = ("_", ".")
"""Names of files beside data files, such as _SUCCESS and .part-00000.crc."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a source: the name that messages call it, and where its bytes are."""

    name: str
    path: Path


def find_files(names: Sequence[str], temporary: Path) -> list[SourceFile]:
    """Return the files that the names stand for; objects are downloaded to `temporary`.

    DataError, naming the option, if one of the names stands for no file, and if a file is named
    twice.
    """
    files = [file for name in names for file in _expand_name(name)]
    if len(files) > MAX_FILES:
        raise DataError(f"{names[0]}: {len(files)} files, {MAX_FILES} are allowed; merge them")
    names_of_files = Counter(map(normalize_name, files))
    if repeated := [name for name, count in names_of_files.items() if count > 1]:
        raise DataError(f"{repeated[0]}: named twice by data.source or data.test_source")
    return _ensure_local(files, temporary)


def normalize_name(name: str) -> str:
    """The name of a source with local paths absolute: all names of a file become one."""
    if is_remote_uri(name) or name == SAMPLE_SOURCE or name.startswith(TFDS_PREFIX):
        return name
    return os.path.abspath(name.removeprefix("file://"))  # noqa: PTH100 - links stay, `..` goes


def refuse_web_address(name: str) -> None:
    """Raise ConfigError for an http, https or ftp address."""
    if name.startswith(_WEB_SCHEMES):
        raise ConfigError(
            f"{without_credentials(name)}: web addresses are not read; download the file, or copy "
            "it to gs:// or s3://, and name it in data.source or data.test_source"
        )


def check_disjoint(names: Collection[str], test_names: Collection[str]) -> None:
    """DataError for a file that is in both sources."""
    if common := {*names} & {*test_names}:
        raise DataError(
            f"{min(common)}: is in data.source and in data.test_source; a text that the model is "
            "tested with must not be trained on: name the other files only"
        )


def is_pattern(name: str) -> bool:
    """Whether the name is a pattern: it has *, ? or [ and no file is called so."""
    return bool(_WILDCARD.search(name)) and not Path(name).exists()


def expand_pattern(pattern: str) -> list[str]:
    """Return the local files that match a pattern, sorted by name."""
    found = glob.glob(pattern)  # noqa: PTH207 - keeps the path as it is written
    return sorted(each for each in found if Path(each).is_file())


def _expand_name(name: str) -> Iterator[str]:
    refuse_web_address(name)
    if is_remote_uri(name):
        yield from _expand_uri(name)
        return
    path = name.removeprefix("file://")
    if is_pattern(path):
        yield from _require_files(_select_data_files(expand_pattern(path)), name)
    elif Path(path).is_dir():
        found = sorted(str(each) for each in Path(path).iterdir() if each.is_file())
        has_directories = any(each.is_dir() for each in Path(path).iterdir())
        yield from _require_files(_select_data_files(found), name, has_directories)
    else:
        yield name


def _expand_uri(uri: str) -> Iterator[str]:
    wildcard = _WILDCARD.search(uri)
    start = uri[: wildcard.start()].rpartition("/")[0] if wildcard else uri
    scheme, bucket, key = parse_uri(start)
    store = open_store(f"{scheme}://{bucket}")
    root = f"{scheme}://{bucket}/"
    if wildcard:
        pattern = f"/{uri.removeprefix(root)}"
        found = [
            each
            for each in _list_objects(store, key, uri)
            if PurePosixPath(f"/{each}").match(pattern)
        ]
    elif not key:
        raise DataError(f"{uri}: names a bucket; name a file, a directory or a pattern in it")
    elif store.exists(key):
        yield uri
        return
    else:
        found = [each for each in _list_objects(store, key, uri) if "/" not in each[len(key) + 1 :]]
        if not found:
            raise DataError(f"{uri}: no such object; check data.source and data.test_source")
    yield from _require_files(_select_data_files([root + each for each in found]), uri)


def _list_objects(store: Store, prefix: str, uri: str) -> list[str]:
    try:
        return store.list(prefix)
    except MissingError:
        raise DataError(
            f"{uri}: there is no bucket {parse_uri(uri)[1]!r}; check data.source and "
            "data.test_source"
        ) from None


def _select_data_files(names: Sequence[str]) -> list[str]:
    """Leave out the files that tools write beside data files, by their names."""
    return [name for name in names if not name.rpartition("/")[2].startswith(_IGNORED_PREFIXES)]


def _require_files(
    names: Sequence[str], pattern: str, has_directories: bool = False
) -> Sequence[str]:
    if names:
        return names
    directory = pattern.rstrip("/")
    advice = f"; its directories are not searched, write {directory}/*/*" if has_directories else ""
    raise DataError(
        f"{pattern}: no data file there{advice}; check data.source and data.test_source"
    )


def _ensure_local(names: Sequence[str], temporary: Path) -> list[SourceFile]:
    """Return the files, with the remote ones downloaded to numbered files in `temporary`."""
    paths = [
        temporary / f"{number:05d}" if is_remote_uri(name) else Path(name.removeprefix("file://"))
        for number, name in enumerate(names)
    ]
    files = [SourceFile(name, path) for name, path in zip(names, paths, strict=True)]
    with ThreadPoolExecutor(MAX_PARALLEL_DOWNLOADS) as pool:
        for _ in pool.map(_download, [file for file in files if is_remote_uri(file.name)]):
            pass
    return files


def _download(file: SourceFile) -> None:
    scheme, bucket, key = parse_uri(file.name)
    open_store(f"{scheme}://{bucket}").download(key, file.path)
