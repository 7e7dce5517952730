from __future__ import annotations

import pytest

from benchmarks.baselines.training_hf_trainer import choose_precision_arguments, parse_options


@pytest.mark.parametrize(
    ("precision", "device", "arguments"),
    [
        pytest.param("float32", "cpu", {}, id="cpu"),
        pytest.param("float32", "gpu", {"tf32": False}, id="float32-is-not-tf32"),
        pytest.param("tf32", "gpu", {"tf32": True}, id="tf32"),
        pytest.param("bfloat16", "gpu", {"bf16": True, "tf32": False}, id="bfloat16"),
        pytest.param("float16", "gpu", {"fp16": True, "tf32": False}, id="float16"),
    ],
)
def test_the_trainer_gets_the_same_precision(
    precision: str, device: str, arguments: dict[str, bool]
) -> None:
    assert choose_precision_arguments(precision, device) == arguments


def test_by_default_it_is_the_comparison_on_cpus() -> None:
    options = parse_options(["rows", "weights"])
    assert (options.device, options.precision) == ("cpu", "float32")
    assert (options.batch_size, options.length) == (32, 128)
