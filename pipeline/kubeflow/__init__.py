"""The client of a Kubeflow Pipelines server: runs, schedules, logs."""
