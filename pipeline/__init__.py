"""The flow as one Kubeflow pipeline, what runs it here or on a cluster, and the `kubert` command."""
