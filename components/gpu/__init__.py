"""NVIDIA GPUs of this machine: what the driver shows, and what TensorFlow's build can use of it."""
