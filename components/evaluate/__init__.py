"""Step `evaluate`: measures a checkpoint on the test rows and writes the report."""
