"""Recognizes files that are no data files by their first bytes, with what to do about each."""

from __future__ import annotations

from pathlib import Path

from components.errors import DataError

_EXAMINED_BYTES = 1 << 10
_OFFICE_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".docx", ".doc", ".odt")
_SAVE_AS_CSV = "save the sheet as CSV (UTF-8) and name that file"
_SIGNATURES = (
    (b"\xd0\xcf\x11\xe0", "is an Excel or Word file", _SAVE_AS_CSV),
    (b"BZh", "is compressed with bzip2", "decompress it, or compress it with gzip"),
    (b"\xfd7zXZ", "is compressed with xz", "decompress it, or compress it with gzip"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "decompress it, or compress it with gzip"),
    (b"7z\xbc\xaf", "is a 7z archive", "unpack it and name the file in it"),
    (b"Rar!", "is a RAR archive", "unpack it and name the file in it"),
    (b"%PDF", "is a PDF", "save its table as CSV and name that file"),
    (b"SQLite format 3", "is an SQLite database", "export the table as CSV and name that file"),
    (b"ARROW1", "is an Arrow file", "write it as Parquet and name that file"),
    (b"Obj\x01", "is an Avro file", "write it as Parquet and name that file"),
    (b"ORC", "is an ORC file", "write it as Parquet and name that file"),
)
_TAR_MARK, _TAR_OFFSET = b"ustar", 257


def check_file_signature(path: Path, name: str) -> None:
    """Raise DataError for an empty file, and for one of a kind that is not read."""
    with open(path, "rb") as stream:
        start = stream.read(_EXAMINED_BYTES)
    if not start:
        raise DataError(f"{name}: the file is empty")
    if problem := _describe_problem(start, name):
        raise DataError(f"{name}: the file {problem}")


def _describe_problem(start: bytes, name: str) -> str | None:
    if start.startswith(b"PK\x03\x04"):
        if name.lower().endswith(_OFFICE_SUFFIXES) or b"[Content_Types].xml" in start:
            return f"is an Excel or Word file; {_SAVE_AS_CSV}"
        return "is a zip archive; unpack it and name the file in it"
    for mark, kind, remedy in _SIGNATURES:
        if start.startswith(mark):
            return f"{kind}; {remedy}"
    if start[_TAR_OFFSET:].startswith(_TAR_MARK):
        return "is a tar archive; unpack it and name the file in it"
    if start.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return (
            "is an HTML page, perhaps a sign-in or error page of the site that it was downloaded "
            "from; download it again"
        )
    return None
