"""What the settings of the workflow controller mean for retries."""

from __future__ import annotations

from typing import Any

import pytest

from components.config.cluster import ClusterConfig
from pipeline.doctor.retry_checks import check_retry_policy

PATH = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"


class Settings:
    """A `Reader` that has the controller's ConfigMap, or nothing."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.data = data

    def get(self, path: str) -> Any:
        assert path == PATH
        return None if self.data is None else {"data": self.data}

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        raise AssertionError("nothing is created")


def with_strategy(strategy: str) -> dict[str, str]:
    return {"workflowDefaults": f"spec: {{templateDefaults: {{retryStrategy: {strategy}}}}}"}


@pytest.mark.parametrize(
    ("data", "state", "message"),
    [
        pytest.param(
            with_strategy("{limit: '2', retryPolicy: Always, expression: lastRetry.exitCode}"),
            "ok",
            "lost pods and killed containers",
            id="as_described",
        ),
        pytest.param(
            with_strategy("{limit: '2', retryPolicy: OnError}"),
            "warning",
            "only lost pods",
            id="kubeflow's_default",
        ),
        pytest.param(
            with_strategy("{limit: '2', retryPolicy: Always}"),
            "warning",
            "a mistake of the user is run again",
            id="without_an_expression",
        ),
        pytest.param({}, "warning", "by retryPolicy OnFailure", id="argo's_default"),
        pytest.param(
            {"workflowDefaults": "["}, "warning", "by retryPolicy OnFailure", id="not_yaml"
        ),
        pytest.param(None, "warning", "there is no ConfigMap kubeflow/", id="no_settings"),
    ],
)
def test_the_policy_of_the_controller_is_named(
    data: dict[str, str] | None, state: str, message: str
) -> None:
    finding = check_retry_policy(Settings(data), ClusterConfig())
    assert finding.state == state
    assert message in finding.message
    assert ("docs/operator-guide/retries.md" in finding.remedy) == (state == "warning")
