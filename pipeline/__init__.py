"""The Kubeflow pipeline, its runners for this machine and a cluster, and the `kubert` command."""
