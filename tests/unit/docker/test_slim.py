"""Libraries still load without their symbols; only the named files are removed."""

import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import psutil

slim = SourceFileLoader("slim", str(Path(__file__).parents[3] / "docker" / "slim.py")).load_module()

LIBRARY = next(Path(psutil.__file__).parent.glob("*.so"))


def test_a_library_without_its_symbols_still_loads(tmp_path):
    copy = tmp_path / LIBRARY.name
    shutil.copyfile(LIBRARY, copy)
    saved = slim.remove_symbols(copy)
    assert saved > 0
    assert copy.stat().st_size == LIBRARY.stat().st_size - saved
    loading = f"import ctypes; ctypes.CDLL({str(copy)!r}).PyInit_{LIBRARY.name.partition('.')[0]}"
    subprocess.run([sys.executable, "-c", loading], check=True)


def test_a_second_removal_changes_nothing(tmp_path):
    copy = tmp_path / LIBRARY.name
    shutil.copyfile(LIBRARY, copy)
    slim.remove_symbols(copy)
    once = copy.read_bytes()
    assert slim.remove_symbols(copy) == 0
    assert copy.read_bytes() == once


def test_a_file_that_is_no_library_is_unchanged(tmp_path):
    for name, content in {
        "empty.so": b"",
        "script.so": b"GROUP ( libc.so.6 )" * 9,
        "elf32.so": b"\x7fELF\x01\x01" + bytes(99),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert slim.remove_symbols(tmp_path / name) == 0
        assert (tmp_path / name).read_bytes() == content


def test_only_unused_files_are_removed(tmp_path):
    unused = [
        "tensorflow/include/a.h",
        "scipy/special/tests/test_a.py",
        "pyarrow/libarrow_flight.so.1",
        "botocore/data/ec2/1/service-2.json",
    ]
    used = [
        "tensorflow/python/a.py",
        "h5py/tests/__init__.py",
        "jinja2/tests.py",
        "botocore/data/s3/1/service-2.json",
        "botocore/data/endpoints.json",
    ]
    for name in unused + used:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    slim.main(tmp_path)
    assert not any((tmp_path / name).exists() for name in unused)
    assert all((tmp_path / name).exists() for name in used)
