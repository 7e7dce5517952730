"""The check that a worker sees the GPUs that it was given."""

from __future__ import annotations

import pytest

from components.errors import HardwareError
from components.gpu.tensorflow_gpus import check_gpus, check_worker_gpus


@pytest.mark.slow
def test_gpus_that_tensorflow_does_not_see_are_noted_where_they_are_optional() -> None:
    assert check_gpus(0) == ""
    note = check_gpus(2, is_optional=True)
    assert note.startswith("2 GPUs not used: this TensorFlow is built for CPUs only; ")
    with pytest.raises(HardwareError, match=r"a worker needs 2 GPUs \(cluster\.gpus\)"):
        check_gpus(2)


def test_a_worker_without_gpus_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERT_GPUS", raising=False)
    assert check_worker_gpus("state", 0) == ""


@pytest.mark.slow
def test_a_worker_that_does_not_see_its_gpu_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERT_GPUS", "1")
    with pytest.raises(HardwareError, match="a worker needs 1 GPU"):
        check_worker_gpus("state", 0)
