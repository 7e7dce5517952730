"""Real workers with several replicas each, on logical CPU devices: what they learn is the same.

A machine with several GPUs has a replica on each. Here the devices are logical CPU devices, and
everything else is what a worker does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model.encoders import load_vocabulary
from tests.support.training import local_training, replica_worker, tiny_bert, training_shards

# A short batch of 2 rows: two of four replicas have none.
ROWS: dict[Any, int] = {"train": 34, "validation": 10, "test": 1}
TRAIN: dict[str, Any] = {
    "train__batch_size": 16,
    "train__epochs": 3,
    "train__learning_rate": 0.003,
    "train__length_buckets": [12],
    "train__checkpoint_every_steps": 2,
    "model__dropout": 0.2,
}
STEPS = 9
SCRATCH: dict[str, Any] = {
    "model__encoder": "scratch",
    "model__max_length": 20,
    "model__vocab_size": 100,
    "model__hidden_size": 16,
    "model__intermediate_size": 16,
    "model__num_heads": 2,
}
ACCUMULATION = "Hugging Face, accumulation in float16"
WEIGHTED = {
    "train__class_weights": "balanced",
    "train__label_smoothing": 0.1,
    "train__best_metric": "macro_f1",
}
CASES: dict[str, dict[str, Any]] = {
    "scratch": SCRATCH,
    ACCUMULATION: WEIGHTED | {"train__precision": "float16"},
    "XLA": SCRATCH | WEIGHTED | {"train__xla": True, "train__length_buckets": [20]},
    "frozen": WEIGHTED | {"model__freeze": True, "train__learning_rate": 0.05},
}
pytestmark = pytest.mark.timeout(1200)  # of the first test of a number of replicas
REPLICA_COUNTS = {1: list(CASES), 2: list(CASES), 4: ["scratch"]}
ATOL = 2e-6
# Processors with float16 products add their terms in an order that depends on the number of rows,
# and each gradient is rounded to 11 bits.
ATOL_FLOAT16 = 1e-4
Trained = Callable[[str, int], CheckpointContent]


@pytest.fixture(scope="module")
def train_case(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What a case with a number of replicas learns; one process does all cases of a number."""
    root = tmp_path_factory.mktemp("replicas")
    encoder = f"hf:{tiny_bert.write(root / 'bert')}"
    scratch, bert = make_shards(root / "scratch"), make_shards(root / "hf", encoder)
    jobs: dict[tuple[str, int], Path] = {}

    def train(case: str, replicas: int) -> CheckpointContent:
        if (case, replicas) not in jobs:
            for name in REPLICA_COUNTS[replicas]:
                options = TRAIN | CASES[name]
                if name == ACCUMULATION:
                    # The gradient of each part is rounded to float16, so the parts must be equal.
                    options |= {"train__gradient_accumulation_steps": 4 // replicas}
                shards = scratch
                if "model__encoder" not in options:
                    options |= {"model__encoder": encoder, "model__max_length": 16}
                    shards = bert
                jobs[name, replicas] = replica_worker.write_job(
                    root / f"{name} {replicas}", shards, options
                )
            wanted = [jobs[name, replicas] for name in REPLICA_COUNTS[replicas]]
            replica_worker.run_jobs(wanted, replicas=replicas)
        return open_checkpoint(replica_worker.read_finished(jobs[case, replicas])).content

    return train


def make_shards(directory: Path, encoder: str = "scratch") -> Path:
    vocabulary: Vocabulary | None = training_shards.VOCABULARY
    if encoder != "scratch":
        vocabulary = load_vocabulary(ModelConfig(encoder=encoder))
    assert vocabulary is not None
    return training_shards.make(
        directory,
        encoder=encoder,
        vocabulary=vocabulary,
        max_length=20 if encoder == "scratch" else 16,
        rows=ROWS,
    )


def assert_same(one: CheckpointContent, other: CheckpointContent, atol: float = ATOL) -> None:
    np.testing.assert_allclose(one.step_losses, other.step_losses, rtol=0, atol=atol)
    assert [epoch.steps for epoch in one.history] == [epoch.steps for epoch in other.history]
    np.testing.assert_allclose(
        [epoch.validation_loss for epoch in one.history],
        [epoch.validation_loss for epoch in other.history],
        rtol=0,
        atol=atol,
    )
    assert one.steps == other.steps == len(one.step_losses) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_replicas_of_a_worker_learn_what_one_learns(case: str, train_case: Trained) -> None:
    atol = ATOL_FLOAT16 if case == ACCUMULATION else ATOL
    assert_same(train_case(case, 1), train_case(case, 2), atol)


@pytest.mark.slow
@pytest.mark.nightly
def test_four_replicas_of_a_worker_learn_what_one_learns(train_case: Trained) -> None:
    assert_same(train_case("scratch", 1), train_case("scratch", 4))


@pytest.mark.slow
@pytest.mark.nightly
def test_a_training_goes_on_with_other_numbers_of_workers_and_replicas(
    train_case: Trained, tmp_path: Path
) -> None:
    """Two workers, then two with two replicas each, then one."""
    shards = make_shards(tmp_path / "shards")
    job = replica_worker.write_job(tmp_path, shards, TRAIN | SCRATCH)
    replica_worker.run_jobs([job], workers=2, replicas=1, stop_at=1)
    stopped = local_training.last_step(tmp_path)
    assert 2 <= stopped <= 3  # a step begins before the outcome of the one before is read
    second, _ = replica_worker.run_jobs([job], workers=2, replicas=2, stop_at=4)
    assert f"going on from step {stopped} " in second
    assert "4 replicas" in second
    assert "gradients are summed by NCCL" in second
    # What TensorFlow says of the step's reduction: small packs, by what was asked for.
    packs = re.findall(r"CommunicationImplementation.NCCL, num_packs = (\d+)", second)
    assert max(map(int, packs)) > 1
    stopped = local_training.last_step(tmp_path)
    assert 5 <= stopped <= 6
    (third,) = replica_worker.run_jobs([job])
    assert f"going on from step {stopped} " in third
    content = open_checkpoint(replica_worker.read_finished(job)).content
    assert_same(train_case("scratch", 1), content)
