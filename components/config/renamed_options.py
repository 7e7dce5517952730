"""Options that were renamed before version 0.1, and options that were added since.

In a configuration an old name is refused with the new one. Artifacts and the identities of
trainings keep the old names, and have an added option only where it is not at its default: equal
artifacts have equal digests, whichever version made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
ADDED_OPTIONS: Final[Mapping[str, Any]] = {
    "data.stratify": False,
    "data.text_pair": None,
    "model.long_texts": "cut",
    "model.max_windows": 8,
    "model.start_from": None,
    "model.window_overlap": None,
    "train.class_weights": "none",
    "train.label_smoothing": 0.0,
    "evaluate.explain_errors": 5,
    "evaluate.minimum": {},
    "evaluate.champion_margin": 0.0,
    "evaluate.champion_rule": "difference",
    "evaluate.threshold": "none",
    "export.calibrate": "none",
}
"""The defaults of options that artifacts of earlier versions do not have."""
_STORED_NAMES: Final = {new: old for old, new in RENAMED_OPTIONS.items()}


def to_stored_names(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a section as artifacts store them: old names, no added option at default."""
    stored = {
        name: value
        for name, value in options.items()
        if f"{section}.{name}" not in ADDED_OPTIONS or value != ADDED_OPTIONS[f"{section}.{name}"]
    }
    return _rename_options(_STORED_NAMES, section, stored)


def from_stored_names(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The stored options of a section under their names in the configuration."""
    return _rename_options(RENAMED_OPTIONS, section, options)


def _rename_options(
    names: Mapping[str, str], section: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        names.get(f"{section}.{name}", f"{section}.{name}").removeprefix(f"{section}."): value
        for name, value in options.items()
    }
