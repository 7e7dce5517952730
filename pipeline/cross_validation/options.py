"""What a configuration must and must not have for a cross-validation."""

from __future__ import annotations

from components.config.schema import Config
from components.errors import ConfigError, UsageError

MIN_FOLDS = 2
MAX_FOLDS = 20
"""As many reports as the step `summarize` has inputs for."""


def check_fold_options(config: Config, folds: int, parallel: int | None = None) -> None:
    """Raise UsageError or ConfigError, naming the option, for what no cross-validation can have."""
    if not MIN_FOLDS <= folds <= MAX_FOLDS:
        raise UsageError(f"--folds {folds}: must be {MIN_FOLDS} to {MAX_FOLDS}; 5 and 10 are usual")
    if parallel is not None and parallel < 1:
        raise UsageError(f"--parallel {parallel}: must be 1 or more")
    if config.model.start_from is not None:
        raise ConfigError(
            "model.start_from: the release was trained on rows that the folds hold out, so their "
            "figures would be too good; leave it out for a cross-validation"
        )


def refuse_parallel_without_folds(folds: int | None, parallel: int | None) -> None:
    """Raise UsageError for a number of folds at a time without a number of folds."""
    if folds is None and parallel is not None:
        raise UsageError("--parallel is about a cross-validation; add --folds")


def check_release_options(config: Config) -> None:
    """Raise ConfigError if no model can be released after the folds."""
    if not config.data.test_fraction and config.data.test_source is None:
        raise ConfigError(
            "data.test_fraction: 0 leaves no rows to test the released model on; set a fraction, "
            "or data.test_source, or leave out --release"
        )


def prepare_fold_config(config: Config) -> Config:
    """The configuration whose shards have the texts of all rows, which the folds hold out."""
    tokenize = config.tokenize.model_copy(update={"keep_texts": True})
    return config.model_copy(update={"tokenize": tokenize})
