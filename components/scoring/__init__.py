"""Scores many rows with a checkpoint or a release: units of rows, independent workers, results."""
