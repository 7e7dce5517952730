"""The training loop: batches, steps, epochs and the optimizer."""
