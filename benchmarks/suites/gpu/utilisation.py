"""Model FLOPs utilisation (MFU): what a model has to compute, as a share of a GPU's peak.

FLOPs of forward and backward pass per token, as in PaLM (Chowdhery et al. 2022, appendix B):

    6 N + 12 L H Q T

N: parameters of the matrix products, L: layers, H Q: heads times their width (the hidden size), T:
tokens of a row. As in Kaplan et al. 2020 (section 2.1), N leaves out the embeddings, which are
looked up and multiply nothing. The classification head and the pooler, once per row, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuPeak:
    """Dense peaks in TFLOP/s, without sparsity; None where a GPU has no such products.

    `names` as the driver gives them; `half` is float16, and bfloat16 too if there is `tf32`.
    `source` is NVIDIA's document.
    """

    names: tuple[str, ...]
    float32: float
    tf32: float | None
    half: float
    source: str


PEAKS = (
    GpuPeak(("Tesla T4", "NVIDIA T4"), 8.1, None, 65.0, "NVIDIA T4 datasheet"),
    GpuPeak(
        ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
        15.7,
        None,
        125.0,
        "NVIDIA V100 datasheet (NVLink)",
    ),
    GpuPeak(
        ("Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB"),
        14.0,
        None,
        112.0,
        "NVIDIA V100 datasheet (PCIe)",
    ),
    GpuPeak(("NVIDIA A10",), 31.2, 62.5, 125.0, "NVIDIA A10 datasheet"),
    GpuPeak(
        (
            "NVIDIA A100-SXM4-40GB",
            "NVIDIA A100-SXM4-80GB",
            "NVIDIA A100-PCIE-40GB",
            "NVIDIA A100 80GB PCIe",
            "A100-SXM4-40GB",
            "A100-SXM4-80GB",
            "A100-PCIE-40GB",
        ),
        19.5,
        156.0,
        312.0,
        "NVIDIA A100 datasheet",
    ),
    GpuPeak(("NVIDIA L4",), 30.3, 60.0, 121.0, "NVIDIA L4 datasheet, half of the sparse figures"),
    GpuPeak(("NVIDIA L40",), 90.5, 90.5, 181.05, "NVIDIA L40 datasheet"),
    GpuPeak(("NVIDIA L40S",), 91.6, 183.0, 362.05, "NVIDIA L40S datasheet"),
    GpuPeak(
        ("NVIDIA H100 80GB HBM3",),
        67.0,
        494.7,
        989.4,
        "NVIDIA H100 datasheet (SXM), half of the sparse figures",
    ),
    GpuPeak(
        ("NVIDIA H100 PCIe",),
        51.0,
        378.0,
        756.0,
        "NVIDIA H100 datasheet (PCIe), half of the sparse figures",
    ),
    GpuPeak(
        ("NVIDIA H200",), 67.0, 494.7, 989.4, "NVIDIA H200 datasheet, half of the sparse figures"
    ),
)
"""GPUs whose figures could be checked; for others MFU is not shown, unless the peak is given."""


def find_peak(name: str) -> GpuPeak | None:
    """The GPU's row; None if it is not in the table, or is a part of a GPU (MIG)."""
    return next((peak for peak in PEAKS if name in peak.names), None)


def find_peak_tflops(name: str, precision: str) -> float | None:
    """Peak of products in this precision, in TFLOP/s; None if it is not known."""
    peak = find_peak(name)
    if peak is None:
        return None
    return {
        "float32": peak.float32,
        "tf32": peak.tf32,
        "bfloat16": peak.half if peak.tf32 else None,
        "float16": peak.half,
    }[precision]


def count_row_flops(sizes: Mapping[str, int], length: int, *, is_first_token_only: bool) -> float:
    """FLOPs to train on one row of `length` tokens; `sizes` has those of config.json.

    With `is_first_token_only`, the last layer counts as kubert computes it for a pooled output:
    keys and values of all tokens, the rest for the first one.
    """
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    keys_and_values = 6.0 * 2 * hidden * hidden
    others = 6.0 * (2 * hidden * hidden + 2 * hidden * inner)
    attention = 12.0 * hidden * length
    layer = length * (keys_and_values + others + attention)
    last = length * keys_and_values + others + attention if is_first_token_only else layer
    return (sizes["num_hidden_layers"] - 1) * layer + last


def compute_mfu(rows_per_second: float, row_flops: float, peak_tflops: float | None) -> float:
    """Share of the peak, 0 to 1; NaN if the peak is not known."""
    if peak_tflops is None:
        return float("nan")
    return rows_per_second * row_flops / (peak_tflops * 1e12)
