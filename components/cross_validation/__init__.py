"""The steps of a cross-validation: the shards of each fold, and the summary of their reports."""
