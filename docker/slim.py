"""Removes from installed packages what no container of kubert uses: `python slim.py SITE_PACKAGES`.

Each entry says what it is; the sizes are those of the CPU train image.

Symbols are removed here and not by `strip --strip-unneeded`, which was tried on 385 libraries of
the train image (1,045 MB): it saves 10 MB more, but four that patchelf has rewritten (OpenBLAS and
libgfortran of numpy and scipy) no longer load ("ELF load command address/offset not
page-aligned"), and the build would need Debian's binutils besides the package index.
"""

import shutil
import struct
import sys
from pathlib import Path
from typing import BinaryIO

# Glob patterns below site-packages.
UNUSED_PATTERNS = (
    "tensorflow/include",  # 236 MB of C++ headers, for building custom operations
    "pyarrow/include",  # 6 MB, likewise
    "pyarrow/*flight*",  # 34 MB: Arrow's RPC; no other part of pyarrow is linked with it
    # 40 MB in all. These packages never import their tests, unlike h5py.
    "numpy/**/tests",
    "scipy/**/tests",
    "pyarrow/tests",
)
# botocore describes 400 services in 27 MB; kubert uses S3; others give credentials.
SERVICES_DIRECTORY = "botocore/data"
USED_SERVICES = frozenset({"s3", "sts", "sso", "sso-oidc", "signin"})
# NVIDIA's libraries read their own files, so they are not changed.
UNCHANGED_PACKAGE = "nvidia"

# The header of a 64-bit little-endian ELF file has the offsets of the program headers (what the
# loader maps) and of the section headers (what linkers and debuggers read).
_ELF_MAGIC = b"\x7fELF\x02\x01"
_ELF_HEADER_SIZE = 64
_PROGRAM_HEADERS_OFFSET_AT = 32
_SECTION_HEADERS_OFFSET_AT = 40
_PROGRAM_HEADER_SIZE_AND_COUNT_AT = 54
_SECTION_COUNT_AND_NAMES_AT = 60
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
"""type, flags, offset, virtual and physical address, size in the file and in memory, alignment."""


def remove_unused(site: Path) -> None:
    """Delete what UNUSED_PATTERNS matches, and the unused services; a pattern may match nothing."""
    for pattern in UNUSED_PATTERNS:
        for path in sorted(site.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for service in sorted(site.glob(f"{SERVICES_DIRECTORY}/*/")):
        if service.name not in USED_SERVICES:
            shutil.rmtree(service)


def remove_symbols(library: Path) -> int:
    """Truncate a shared library after its last loaded segment; return the bytes saved.

    The loader uses only segments and the dynamic symbols inside them. The symbol and debug tables
    and the section headers (310 MB in all) lie behind the last segment. Any other file is left
    unchanged.
    """
    with library.open("r+b") as file:
        header = bytearray(file.read(_ELF_HEADER_SIZE))
        if len(header) < _ELF_HEADER_SIZE or not header.startswith(_ELF_MAGIC):
            return 0
        end = _end_of_segments(file, header)
        size = file.seek(0, 2)
        if end >= size:
            return 0
        # No section headers any more.
        struct.pack_into("<Q", header, _SECTION_HEADERS_OFFSET_AT, 0)
        struct.pack_into("<HH", header, _SECTION_COUNT_AND_NAMES_AT, 0, 0)
        file.seek(0)
        file.write(header)
        file.truncate(end)
    return size - end


def _end_of_segments(file: BinaryIO, header: bytearray) -> int:
    """Return the offset behind the last byte that the loader may read."""
    (table,) = struct.unpack_from("<Q", header, _PROGRAM_HEADERS_OFFSET_AT)
    entry_size, count = struct.unpack_from("<HH", header, _PROGRAM_HEADER_SIZE_AND_COUNT_AT)
    file.seek(table)
    entries = file.read(entry_size * count)
    end = max(_ELF_HEADER_SIZE, table + entry_size * count)
    for number in range(count):
        _, _, offset, _, _, size, _, _ = _PROGRAM_HEADER.unpack_from(entries, number * entry_size)
        end = max(end, offset + size)
    return end


def main(site: Path) -> None:
    """Slim the packages in `site`."""
    remove_unused(site)
    libraries = (path for path in site.rglob("*.so*") if path.is_file() and not path.is_symlink())
    saved = sum(
        remove_symbols(path)
        for path in libraries
        if path.relative_to(site).parts[0] != UNCHANGED_PACKAGE
    )
    print(f"slim: removed {saved / 1e6:.0f} MB of symbols")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
