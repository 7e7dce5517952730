"""FLOPs by hand, and the table of peaks."""

from __future__ import annotations

import math

import pytest

from benchmarks.models.small_bert import BERT_BASE
from benchmarks.suites.gpu.utilisation import (
    PEAKS,
    compute_mfu,
    count_row_flops,
    find_peak,
    find_peak_tflops,
)

LENGTH = 128


def test_flops_of_bert_base_are_those_of_the_formula() -> None:
    parameters = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert parameters == 84_934_656
    per_token = 6 * parameters + 12 * 12 * 768 * LENGTH
    assert count_row_flops(BERT_BASE, LENGTH, is_first_token_only=False) == LENGTH * per_token


def test_of_a_last_layer_for_the_first_token_only_keys_and_values_of_all_tokens_count() -> None:
    sizes = {"hidden_size": 2, "intermediate_size": 3, "num_hidden_layers": 1}
    keys_and_values, query_and_output, feed_forward = 2 * 4, 2 * 4, 2 * 2 * 3
    assert count_row_flops(sizes, 10, is_first_token_only=True) == (
        6 * (10 * keys_and_values + query_and_output + feed_forward) + 12 * 2 * 10
    )


def test_utilisation_is_what_is_computed_as_a_share_of_the_peak() -> None:
    assert compute_mfu(1000.0, 6e10, 120.0) == pytest.approx(0.5)
    assert math.isnan(compute_mfu(1000.0, 6e10, None))


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        pytest.param("NVIDIA A100-SXM4-40GB", "bfloat16", 312.0, id="bfloat16"),
        pytest.param("NVIDIA A100-SXM4-40GB", "float32", 19.5, id="float32 is not TF32"),
        pytest.param("NVIDIA L4", "float16", 121.0, id="dense, not sparse"),
        pytest.param("Tesla T4", "float16", 65.0, id="before Ampere: float16"),
        pytest.param("Tesla T4", "bfloat16", None, id="before Ampere: no bfloat16"),
        pytest.param("Tesla T4", "tf32", None, id="before Ampere: no TF32"),
        pytest.param("NVIDIA A10G", "bfloat16", None, id="not in the table"),
        pytest.param("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bfloat16", None, id="part of a GPU"),
    ],
)
def test_peaks_are_found_by_the_drivers_name(name: str, precision: str, peak: float | None) -> None:
    assert find_peak_tflops(name, precision) == peak


def test_every_row_of_the_table_names_its_source_and_its_figures_are_in_order() -> None:
    names = [name for peak in PEAKS for name in peak.names]
    assert len(set(names)) == len(names)
    for peak in PEAKS:
        assert "NVIDIA" in peak.source and "datasheet" in peak.source
        assert peak.float32 <= (peak.tf32 or peak.float32) <= peak.half
        assert find_peak(peak.names[0]) is peak
