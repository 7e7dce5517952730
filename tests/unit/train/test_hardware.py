from __future__ import annotations

from pathlib import Path

import pytest

from components.config.schema import TrainConfig
from components.gpu.driver import GpuDevice
from components.train.hardware import (
    ThreadCounts,
    choose_thread_counts,
    describe_unfit_precision,
    resolve_precision,
)


@pytest.mark.parametrize(
    ("asked", "backend", "flags", "wanted"),
    [
        pytest.param(
            "auto", "local", "fpu avx512f avx512_bf16 sse", "bfloat16", id="native products"
        ),
        pytest.param("auto", "local", "fpu amx_bf16", "bfloat16", id="native tiles"),
        pytest.param("auto", "local", "fpu avx512f", "float32", id="none"),
        pytest.param("auto", "local", None, "float32", id="a system without cpuinfo"),
        pytest.param("auto", "jobset", "fpu avx512_bf16", "float32", id="other machines"),
        pytest.param("float32", "local", "fpu avx512_bf16", "float32", id="float32 asked for"),
        pytest.param("bfloat16", "jobset", "fpu", "bfloat16", id="bfloat16 asked for"),
    ],
)
def test_auto_is_what_the_workers_processor_multiplies_fastest(
    asked: str, backend: str, flags: str | None, wanted: str, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(
            f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n"
        )
    train = TrainConfig.model_validate({"precision": asked, "epochs": 7})
    found = resolve_precision(train, backend, (), file)
    assert found == train.model_copy(update={"precision": wanted})


@pytest.mark.parametrize(
    ("capabilities", "wanted"),
    [
        pytest.param([(8, 0), (8, 9)], "bfloat16", id="Ampere and later"),
        pytest.param([(8, 0), (7, 5)], "float32", id="one is older"),
    ],
)
def test_auto_is_about_the_gpus_if_the_workers_use_any(
    capabilities: list[tuple[int, int]], wanted: str, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512_bf16\n")
    gpus = [GpuDevice("GPU", 2**34, capability) for capability in capabilities]
    found = resolve_precision(TrainConfig(precision="auto"), "local", gpus, tmp_path / "cpuinfo")
    assert found.precision == wanted


@pytest.mark.parametrize(
    ("precision", "capabilities", "is_on_gpus", "note"),
    [
        pytest.param("tf32", [], False, "tf32 has no effect on CPUs", id="tf32 on CPUs"),
        pytest.param(
            "tf32",
            [(7, 5)],
            True,
            "tf32 has no effect on GPU (compute capability 7.5)",
            id="tf32 on an old GPU",
        ),
        pytest.param("tf32", [(8, 0)], True, "", id="tf32 on Ampere"),
        pytest.param("tf32", [], True, "", id="tf32 on GPUs of a cluster"),
        pytest.param("float16", [], False, "slower than float32 on CPUs", id="float16 on CPUs"),
        pytest.param("float16", [(7, 5)], True, "", id="float16 on an old GPU"),
        pytest.param("float32", [], False, "", id="float32 on CPUs"),
    ],
)
def test_a_precision_that_does_not_suit_is_named(
    precision: str, capabilities: list[tuple[int, int]], is_on_gpus: bool, note: str
) -> None:
    gpus = [GpuDevice("GPU", 2**34, capability) for capability in capabilities]
    found = describe_unfit_precision(precision, gpus, is_on_gpus)
    assert note in found
    assert bool(found) == bool(note)


@pytest.mark.parametrize(
    ("cores", "hidden_size", "threads"),
    [
        pytest.param(2, 128, ThreadCounts(1, 2), id="narrow"),
        pytest.param(2, 129, ThreadCounts(2, 2), id="wide"),
        pytest.param(2, None, ThreadCounts(2, 2), id="width_not_known"),
        pytest.param(1, 64, ThreadCounts(1, 1), id="narrow_on_one_core"),
        pytest.param(1, 768, ThreadCounts(1, 1), id="wide_on_one_core"),
        pytest.param(9, 128, ThreadCounts(4, 9), id="narrow_on_many_cores"),
    ],
)
def test_a_narrow_model_splits_an_operation_over_half_of_the_cores(
    cores: int, hidden_size: int | None, threads: ThreadCounts
) -> None:
    assert choose_thread_counts(cores, hidden_size) == threads
