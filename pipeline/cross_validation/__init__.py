"""The Kubeflow pipeline of a cross-validation."""
