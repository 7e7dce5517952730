"""Which failures of a worker are retried, as the policies of the JobSet and of its Job.

Workers that meet are restarted together by the JobSet, because a worker cannot rejoin its group.
Independent workers are the indexes of the Job, which replaces the pod of one that failed and leaves
the others alone; the JobSet then restarts nothing.

The JobSet's rules depend on the text of the Job controller's messages, which a test pins:
"Container train for pod <pod> failed with exit code 65 matching FailJob rule at index 0".
"""

from __future__ import annotations

from typing import Any

from components.workers import exit_codes
from components.workers.group import WorkerGroup

_NEVER_RESTARTED = sorted(exit_codes.NEVER_RESTARTED)
_DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]
FAILURE_MESSAGE_PATTERNS = {
    "permanent": [f"exit code ({'|'.join(map(str, _NEVER_RESTARTED))}) matching"],
    "disrupted": [
        "condition DisruptionTarget matching",
        f"exit code {exit_codes.PREEMPTED} matching",
    ],
}
"""Regular expressions over the message of a failed Job, by the rule of the failure policy."""


def render_failure_policy(group: WorkerGroup) -> dict[str, Any]:
    """Return the JobSet's failure policy."""
    if group.independent:
        return {"maxRestarts": 0}
    return {
        "maxRestarts": group.max_restarts,
        "restartStrategy": "BlockingRecreate",
        "rules": [
            {
                "name": "overtime",
                "action": "FailJobSet",
                "onJobFailureReasons": ["DeadlineExceeded"],
            },
            _render_message_rule("permanent", "FailJobSet"),
            _render_message_rule("disrupted", "RestartJobSetAndIgnoreMaxRestarts"),
            {"name": "other", "action": "RestartJobSet"},
        ],
    }


def render_job_policy(group: WorkerGroup) -> dict[str, Any]:
    """Return the fields of the Job's spec about failed pods.

    A Job that fails ends its pods, so a group ends with the first worker that may not be restarted.
    """
    when_stopped = "Ignore" if group.independent else "FailJob"
    limits = (
        {"backoffLimitPerIndex": group.max_restarts, "maxFailedIndexes": 0}
        if group.independent
        else {"backoffLimit": 0}
    )
    return {
        **limits,
        "podFailurePolicy": {
            "rules": [
                _render_exit_code_rule(group, "FailJob", _NEVER_RESTARTED),
                {"action": when_stopped, "onPodConditions": _DISRUPTED},
                _render_exit_code_rule(group, when_stopped, [exit_codes.PREEMPTED]),
            ]
        },
    }


def _render_message_rule(name: str, action: str) -> dict[str, Any]:
    return {
        "name": name,
        "action": action,
        "onJobFailureReasons": ["PodFailurePolicy"],
        "onJobFailureMessagePatterns": FAILURE_MESSAGE_PATTERNS[name],
    }


def _render_exit_code_rule(group: WorkerGroup, action: str, codes: list[int]) -> dict[str, Any]:
    return {
        "action": action,
        "onExitCodes": {
            "containerName": group.step.value,
            "operator": "In",
            "values": list(codes),
        },
    }
