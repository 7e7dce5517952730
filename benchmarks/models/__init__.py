"""The models that the suites measure."""
