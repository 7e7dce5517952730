"""What `train.precision` sets in a worker's process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import tensorflow as tf

from components.config.schema import TrainConfig
from components.train.loop.build_trainer import set_precision


@pytest.fixture(autouse=True)
def _precision_as_it_was() -> Iterator[None]:
    policy = tf.keras.mixed_precision.global_policy()
    allows_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    yield
    tf.keras.mixed_precision.set_global_policy(policy)
    tf.config.experimental.enable_tensor_float_32_execution(allows_tf32)


@pytest.mark.parametrize(
    ("precision", "policy", "allows_tf32"),
    [
        ("float32", "float32", False),
        ("tf32", "float32", True),
        ("bfloat16", "mixed_bfloat16", False),
        ("float16", "mixed_float16", False),
    ],
)
def test_only_tf32_allows_products_of_less_than_float32(
    precision: Any, policy: str, allows_tf32: bool
) -> None:
    for _ in range(2):  # whatever the process has computed in before
        set_precision(TrainConfig(precision=precision))
        assert tf.keras.mixed_precision.global_policy().name == policy
        assert tf.config.experimental.tensor_float_32_execution_enabled() == allows_tf32
        tf.config.experimental.enable_tensor_float_32_execution(not allows_tf32)


def test_every_precision_but_auto_can_be_set() -> None:
    for precision in get_args(TrainConfig.model_fields["precision"].annotation):
        if precision != "auto":
            set_precision(TrainConfig(precision=precision))
