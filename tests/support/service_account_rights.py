"""What kubert's service accounts may do, and what they must not."""

from __future__ import annotations

RIGHTS: list[tuple[str, str, str, str, bool]] = [
    ("kubert-pipeline", "create", "jobset.x-k8s.io", "jobsets", True),
    ("kubert-pipeline", "get", "jobset.x-k8s.io", "jobsets", True),
    ("kubert-pipeline", "delete", "jobset.x-k8s.io", "jobsets", True),
    ("kubert-pipeline", "update", "jobset.x-k8s.io", "jobsets", False),
    ("kubert-pipeline", "list", "", "pods", True),
    ("kubert-pipeline", "get", "", "pods/log", True),
    ("kubert-pipeline", "list", "", "events", True),
    ("kubert-pipeline", "create", "", "pods", False),
    ("kubert-pipeline", "delete", "", "pods", False),
    ("kubert-pipeline", "create", "", "pods/exec", False),
    ("kubert-pipeline", "get", "", "secrets", False),
    ("kubert-pipeline", "list", "", "secrets", False),
    ("kubert-pipeline", "get", "", "configmaps", False),
    ("kubert-pipeline", "create", "argoproj.io", "workflowtaskresults", True),
    ("kubert-pipeline", "get", "argoproj.io", "workflows", True),
    ("kubert-pipeline", "create", "argoproj.io", "workflows", False),
    ("kubert-pipeline", "create", "", "serviceaccounts/token", False),
    ("kubert-submitter", "create", "pipelines.kubeflow.org", "runs", True),
    ("kubert-submitter", "delete", "pipelines.kubeflow.org", "runs", True),
    ("kubert-submitter", "delete", "pipelines.kubeflow.org", "jobs", True),
    ("kubert-submitter", "get", "", "serviceaccounts", True),
    ("kubert-submitter", "get", "kueue.x-k8s.io", "localqueues", True),
    ("kubert-submitter", "get", "", "pods/log", True),
    ("kubert-submitter", "delete", "jobset.x-k8s.io", "jobsets", True),
    ("kubert-submitter", "create", "jobset.x-k8s.io", "jobsets", False),
    ("kubert-submitter", "get", "", "secrets", False),
    *[
        (account, action, group, what, False)
        for account in ("kubert-worker", "kubert-serving", "kubert-tensorboard")
        for action, group, what in (
            ("get", "", "secrets"),
            ("list", "", "pods"),
            ("get", "", "configmaps"),
            ("create", "jobset.x-k8s.io", "jobsets"),
        )
    ],
]
"""Service account, action, API group, resource, and whether it is allowed."""
