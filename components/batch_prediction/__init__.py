"""Batch prediction: the rows of a text source through a release, into one file (`kubert score`)."""
