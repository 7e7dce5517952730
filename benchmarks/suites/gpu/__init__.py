"""What a machine with GPUs shows: that training on them is right, and how fast it is."""
