"""A worker group as a JobSet on Kubernetes."""
