"""Leaves out of the installed packages what no container of ours can use: `python slim.py SITE_PACKAGES`.

Each entry says what it is; the sizes are those of the CPU train image. A package that something may import stays whole.
"""

import shutil
import struct
import sys
from pathlib import Path

# Glob patterns below site-packages.
UNUSED = (
    "tensorflow/include",  # 236 MB of C++ headers, to build one's own operations
    "pyarrow/include",  # 6 MB, likewise
    "pyarrow/*flight*",  # 34 MB: Arrow's RPC; no other part of pyarrow is linked with it
    "numpy/**/tests",  # 40 MB with the next three; these packages never import their tests, as h5py does
    "scipy/**/tests",
    "sklearn/**/tests",
    "pyarrow/tests",
)
# botocore describes 400 services in 27 MB; the store speaks to S3, and credentials may come from the others.
SERVICES = "botocore/data"
KEPT_SERVICES = frozenset({"s3", "sts", "sso", "sso-oidc", "signin"})
# Not ours to change: NVIDIA's libraries look into their own files.
UNTOUCHED = "nvidia"

# ELF64, little-endian: how the segments' table and the sections' table are found.
_IDENT = b"\x7fELF\x02\x01"
_SEGMENTS_AT, _SECTIONS_AT, _SEGMENT_SIZE_AND_COUNT, _SECTION_COUNT_AND_NAMES, _HEADER_SIZE = (
    32,
    40,
    54,
    60,
    64,
)
_SEGMENT = struct.Struct("<IIQQQQQQ")


def remove_unused(site: Path) -> None:
    """Delete what `UNUSED` and `SERVICES` name; a pattern that matches nothing is none of this image's packages."""
    for pattern in UNUSED:
        for path in sorted(site.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for service in sorted(site.glob(f"{SERVICES}/*/")):
        if service.name not in KEPT_SERVICES:
            shutil.rmtree(service)


def remove_symbols(library: Path) -> int:
    """Cut the symbol and debug tables off a shared library (310 MB in all); returns the bytes saved.

    The loader works from segments and the dynamic symbols inside them; what lies behind the last segment, the section
    table included, serves debuggers only. A file of another kind is left as it is.
    """
    with library.open("r+b") as file:
        head = bytearray(file.read(_HEADER_SIZE))
        if len(head) < _HEADER_SIZE or not head.startswith(_IDENT):
            return 0
        (table,) = struct.unpack_from("<Q", head, _SEGMENTS_AT)
        size, count = struct.unpack_from("<HH", head, _SEGMENT_SIZE_AND_COUNT)
        file.seek(table)
        entries = file.read(size * count)
        end = max(_HEADER_SIZE, table + size * count)
        for number in range(count):
            _, _, offset, _, _, length, _, _ = _SEGMENT.unpack_from(entries, number * size)
            end = max(end, offset + length)
        before = file.seek(0, 2)
        if end >= before:
            return 0
        struct.pack_into("<Q", head, _SECTIONS_AT, 0)
        struct.pack_into("<HH", head, _SECTION_COUNT_AND_NAMES, 0, 0)
        file.seek(0)
        file.write(head)
        file.truncate(end)
    return before - end


def main(site: Path) -> None:
    """Slim the packages in `site`."""
    remove_unused(site)
    libraries = (path for path in site.rglob("*.so*") if path.is_file() and not path.is_symlink())
    saved = sum(
        remove_symbols(path) for path in libraries if path.relative_to(site).parts[0] != UNTOUCHED
    )
    print(f"slim: {saved / 1e6:.0f} MB of symbols left out")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
