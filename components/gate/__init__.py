"""The gate step: decides whether a candidate may be released."""
