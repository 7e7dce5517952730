"""The gate step: whether a candidate may be released."""
