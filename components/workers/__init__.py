"""A group of worker processes: how it starts, meets, fails and ends, locally or on Kubernetes."""
