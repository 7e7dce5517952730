"""Options that were renamed before version 0.1; an old name is refused with the new one."""

from __future__ import annotations

from typing import Final

RENAMED_OPTIONS: Final = {
    "data.time": "data.time_column",
    "data.until": "data.end_time",
    "model.heads": "model.num_heads",
    "model.inner_size": "model.intermediate_size",
    "model.layers": "model.num_layers",
    "model.vocabulary_size": "model.vocab_size",
    "tokenize.shard_rows": "tokenize.rows_per_shard",
    "train.accumulate": "train.gradient_accumulation_steps",
    "train.best_by": "train.best_metric",
    "train.buckets": "train.length_buckets",
    "train.checkpoint_steps": "train.checkpoint_every_steps",
    "train.decay": "train.lr_schedule",
    "train.patience": "train.early_stopping_patience",
    "train.stall_deadline": "train.stall_timeout",
    "train.start_deadline": "train.rendezvous_timeout",
    "train.window": "train.length_grouping_batches",
    "evaluate.mistakes": "evaluate.max_reported_errors",
    "cluster.keep_finished": "cluster.ttl_after_finished",
    "cluster.pod_deadline": "cluster.pod_start_timeout",
    "cluster.state": "cluster.checkpoint_uri",
    "cluster.state_claim": "cluster.checkpoint_pvc",
    "cluster.stop_grace": "cluster.termination_grace_period",
    "cluster.time_limit": "cluster.active_deadline",
    "schedule.concurrency": "schedule.max_concurrent_runs",
}
