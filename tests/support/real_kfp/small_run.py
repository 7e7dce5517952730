"""A configuration that trains in well under a minute in pods, and follows its runs."""

from __future__ import annotations

import os
import secrets
from typing import Any

import pytest

from components.config.environment import ENV_TOOLS_IMAGE, ENV_TRAIN_IMAGE

ENV_STORE = "KUBERT_TEST_STORE"
ENV_ROOT = "KUBERT_TEST_KFP_ROOT"
DEFAULT_ROOT = "minio://mlpipeline/kubert-e2e"
REQUIRED = {
    ENV_STORE: "a gs:// or s3:// URI that pods reach",
    ENV_TRAIN_IMAGE: "the image of steps and workers, by digest",
    ENV_TOOLS_IMAGE: "the image of the launcher, by digest",
}


def new_store_uri() -> str:
    """A new URI that tests may write below; skips the test if something is not given."""
    for variable, what in REQUIRED.items():
        if not os.environ.get(variable):
            pytest.skip(f"{variable} is not set: {what}")
    return f"{os.environ[ENV_STORE].rstrip('/')}/kfp-{secrets.token_hex(4)}"


def build_config(store: str, *, backend: str) -> dict[str, Any]:
    """The options of a small run: a new identity each time, so no cache has its steps yet."""
    return {
        "model": {
            "encoder": "scratch",
            "max_length": 64,
            "vocab_size": 3000,
            "hidden_size": 32,
            "intermediate_size": 32,
        },
        # Part of the shards' identity, and larger than the sample.
        "tokenize": {"rows_per_shard": 10_000 + secrets.randbelow(10**6)},
        "train": {
            "workers": 2 if backend == "jobset" else 1,
            "epochs": 6,
            "batch_size": 32,
            "learning_rate": 0.002,
        },
        "evaluate": {"min_accuracy": 0.3},
        "cluster": {
            "backend": backend,
            "pipeline_root": os.environ.get(ENV_ROOT, DEFAULT_ROOT),
            "storage_secret": "mlpipeline-minio-artifact",
            "checkpoint_uri": f"{store}/state",
            "environment": _build_pod_environment(),
            "step_cpu": "200m",
            "step_memory": "3Gi",
            "cpu": "200m",
            "memory": "2Gi",
            "ephemeral_storage": "1Gi",
            "shared_memory": "64Mi",
            "termination_grace_period": 20,
            "pod_start_timeout": 300,
        },
        "export": {"model_store": f"{store}/models", "model_name": "news"},
    }


def _build_pod_environment() -> dict[str, str]:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    return {"STORAGE_EMULATOR_HOST": emulator} if emulator else {}
