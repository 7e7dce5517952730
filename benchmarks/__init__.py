"""Measurements: what is claimed of speed or accuracy, each with the command that made it."""
