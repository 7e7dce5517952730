"""The export step: publishes a checkpoint that passed the gate as a release."""
