"""The driver's library, asked in a process of its own: a compiled stand-in, and none at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.gpu.driver import (
    DriverReport,
    GpuDevice,
    find_library,
    list_library_directories,
    probe_driver,
)
from tests.support.stand_in_driver.compile_driver import VERSION, compile_driver


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver"))


def probe(driver: Path, **variables: str) -> DriverReport:
    hidden = {"CUDA_VISIBLE_DEVICES"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return probe_driver({**environment, "LD_LIBRARY_PATH": str(driver), **variables})


def test_the_gpus_of_a_driver_are_listed_with_what_decides_about_their_use(driver: Path) -> None:
    report = probe(driver, STAND_IN_GPUS="2", STAND_IN_CAPABILITY="120")
    gpus = [GpuDevice(f"Stand-in {index}", 24 * 2**30, (12, 0)) for index in range(2)]
    assert report == DriverReport(
        library=str(driver / f"libcuda.so.{VERSION}"),
        version=VERSION,
        cuda_version="12.4",
        devices=tuple(gpus),
    )


def test_only_the_gpus_that_are_visible_count(driver: Path) -> None:
    report = probe(driver, STAND_IN_GPUS="4", CUDA_VISIBLE_DEVICES="3,GPU-1,9,0")
    assert [gpu.name for gpu in report.devices] == ["Stand-in 3", "Stand-in 1"]


@pytest.mark.parametrize("mask", ["0,0", "GPU-1,GPU-1", ",0,1", "a,b", "GPU-xyz"])
def test_a_list_with_an_entry_twice_or_without_a_gpu_shows_none(driver: Path, mask: str) -> None:
    """As CUDA counts, and PyTorch in its name: the stand-in must not be kinder."""
    report = probe(driver, STAND_IN_GPUS="2", CUDA_VISIBLE_DEVICES=mask)
    assert report.devices == () and "CUDA_ERROR_NO_DEVICE" in report.error


def test_a_driver_is_broken_if_it_is_there_and_fails(driver: Path, tmp_path: Path) -> None:
    assert probe(driver, STAND_IN_INIT="803").is_broken
    assert probe(driver, STAND_IN_INIT="-1").is_broken
    assert not probe(driver).is_broken
    assert not probe(tmp_path).is_broken
    needs_another = "libnvidia-x.so.1: cannot open shared object file: No such file or directory"
    assert DriverReport(error=needs_another, searched=("/lib",)).is_broken


def test_a_driver_that_fails_says_what_cuda_says(driver: Path) -> None:
    assert probe(driver, STAND_IN_INIT="803").error == (
        "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / "
        "cuda driver combination (error 803)"
    )
    assert probe(driver, STAND_IN_INIT="7").error == "cuInit: unknown error (error 7)"
    assert "CUDA_ERROR_NO_DEVICE" in probe(driver, CUDA_VISIBLE_DEVICES="").error


def test_a_driver_that_crashes_harms_nobody(driver: Path) -> None:
    report = probe(driver, STAND_IN_INIT="-1")
    assert report.devices == () and "ended the process (exit code -6" in report.error


def test_without_a_library_the_directories_that_were_searched_are_listed(tmp_path: Path) -> None:
    report = probe(tmp_path)
    if report.library:
        pytest.skip("this machine has an NVIDIA driver")
    assert "libcuda.so.1" in report.error and "No such file" in report.error
    assert report.searched[0] == str(tmp_path) and "/usr/lib" in report.searched


def test_a_library_that_cannot_be_loaded_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(b"not a library")
    assert "invalid ELF header" in probe(tmp_path).error or "too short" in probe(tmp_path).error


def test_the_directories_are_those_of_the_loader_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.conf").write_text("/second # a comment\n")
    (tmp_path / "conf.d" / "a.conf").write_text("\n/first\n/usr/lib\n")
    (tmp_path / "ld.so.conf").write_text(f"include {tmp_path}/conf.d/*.conf\n/last\n")
    assert list_library_directories(":/named::/named", tmp_path / "ld.so.conf") == (
        *("/named", "/first", "/usr/lib", "/second", "/last"),
        *("/lib64", "/usr/lib64", "/lib"),
    )
    assert list_library_directories("", tmp_path / "absent")[0] == "/lib64"


def test_a_library_outside_of_the_searched_directories_is_found(
    driver: Path, tmp_path: Path
) -> None:
    assert find_library([str(tmp_path), str(driver)]) == (str(driver),)
