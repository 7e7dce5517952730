"""Client of the Kubeflow Pipelines API (v2beta1): the calls that kubert makes.

Results are records. Methods named `ensure_*` create what is missing and return its id. Names on the
server are compared without regard to case; the client filters what it lists once more, exactly.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kfp_server_api as kfp

from pipeline.kubeflow import transport
from pipeline.kubeflow.endpoint import Endpoint
from pipeline.kubeflow.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from pipeline.kubeflow.records import Run, Schedule, ServerHealth, parse_run, parse_schedule
from pipeline.kubeflow.workflow.manifest import Workflow, parse_workflow

_RECORD_FIELDS = {
    "display_name": "name",
    "recurring_run_id": "schedule_id",
}
"""Fields of the API that can be filtered by, and the records' fields that hold them."""
_WORKFLOW_PATH = "/apis/v1beta1/runs/{run_id}"
"""Only this version of the API returns a run's workflow."""


class KubeflowClient:
    """The calls that kubert makes, against one endpoint and in one namespace.

    All raise ServerUnavailableError, PermissionDeniedError or InvalidRequestError; those that
    create a run or a schedule raise AmbiguousOutcomeError or RateLimitedError instead of trying
    again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sleep: Callable[[float], None] = time.sleep,
        retry_timeout_seconds: float = transport.RETRY_TIMEOUT_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport.Transport(endpoint, sleep, retry_timeout_seconds)
        api_client = self._transport.api_client
        self._runs = kfp.RunServiceApi(api_client)
        self._schedules = kfp.RecurringRunServiceApi(api_client)
        self._pipelines = kfp.PipelineServiceApi(api_client)
        self._uploads = kfp.PipelineUploadServiceApi(api_client)
        self._experiments = kfp.ExperimentServiceApi(api_client)
        self._health = kfp.HealthzServiceApi(api_client)
        self._known_health: ServerHealth | None = None

    def server_time(self) -> datetime.datetime:
        """The server's time, by the date of its last reply. It dates runs and schedules."""
        return self._transport.server_time()

    @property
    def namespace(self) -> str | None:
        """The namespace that calls name; None for a single-user server, or before `get_health`."""
        known = self._known_health
        return self.endpoint.namespace if known is not None and known.multi_user else None

    @property
    def health(self) -> ServerHealth:
        """What `get_health` returned last; the server is asked if it never was."""
        return self._known_health or self.get_health()

    def get_health(self) -> ServerHealth:
        """The server's version and mode; the mode decides whether later calls name a namespace."""
        found = self._transport.call_with_retries(
            "reach Kubeflow Pipelines", self._health.healthz_service_get_healthz
        )
        # The generated model has no field for it.
        version = json.loads(self._transport.api_client.last_response.data).get("tag_name")
        health = ServerHealth(version=str(version or ""), multi_user=bool(found.multi_user))
        self._known_health = health
        return health

    def find_experiment(self, name: str) -> str | None:
        """Id of the experiment of this name, if there is one."""
        found = self._transport.list_all(
            f"find experiment {name}",
            self._experiments.experiment_service_list_experiments,
            "experiments",
            filter=_build_equality_filter(display_name=name),
            **self._namespace_argument(),
        )
        return next((str(item.experiment_id) for item in found if item.display_name == name), None)

    def ensure_experiment(self, name: str) -> str:
        """Id of the experiment of this name, created if it is missing."""
        body = kfp.V2beta1Experiment(display_name=name, **self._namespace_argument())
        create = self._experiments.experiment_service_create_experiment
        return self._transport.find_or_create(
            f"create experiment {name}",
            lambda: self.find_experiment(name),
            lambda: create(body, _request_timeout=transport.REQUEST_TIMEOUT_SECONDS).experiment_id,
        )

    def find_pipeline(self, name: str) -> str | None:
        """Id of the pipeline of this name, if there is one."""
        try:
            found = self._transport.call_with_retries(
                f"find pipeline {name}",
                self._pipelines.pipeline_service_get_pipeline_by_name,
                name,
                **self._namespace_argument(),
            )
        except NotFoundError:
            return None
        return str(found.pipeline_id)

    def ensure_pipeline(self, name: str, description: str) -> str:
        """Id of the pipeline of this name, created without a version if it is missing."""
        body = kfp.V2beta1Pipeline(
            name=name, display_name=name, description=description, **self._namespace_argument()
        )
        create = self._pipelines.pipeline_service_create_pipeline
        return self._transport.find_or_create(
            f"create pipeline {name}",
            lambda: self.find_pipeline(name),
            lambda: create(body, _request_timeout=transport.REQUEST_TIMEOUT_SECONDS).pipeline_id,
        )

    def find_pipeline_version(self, pipeline_id: str, name: str) -> str | None:
        """Id of the pipeline's version of this name, if there is one."""
        found = self._transport.list_all(
            f"find pipeline version {name}",
            self._pipelines.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            pipeline_id,
            filter=_build_equality_filter(name=name),
        )
        return next(
            (
                str(item.pipeline_version_id)
                for item in found
                if name in (item.name, item.display_name)
            ),
            None,
        )

    def ensure_pipeline_version(self, pipeline_id: str, name: str, package: Path) -> str:
        """Id of the pipeline's version of this name, uploaded if it is missing."""
        return self._transport.find_or_create(
            f"upload pipeline version {name}",
            lambda: self.find_pipeline_version(pipeline_id, name),
            lambda: (
                self._uploads.upload_pipeline_version(
                    str(package),
                    name=name,
                    display_name=name,
                    pipelineid=pipeline_id,
                    _request_timeout=transport.REQUEST_TIMEOUT_SECONDS,
                ).pipeline_version_id
            ),
        )

    def list_runs(self, experiment_id: str, *, limit: int | None = None, **equal: str) -> list[Run]:
        """Runs of the experiment, newest first, filtered by display_name or recurring_run_id."""
        found = self._transport.list_all(
            "list runs",
            self._runs.run_service_list_runs,
            "runs",
            limit=limit,
            experiment_id=experiment_id,
            sort_by="created_at desc",
            **_build_filter_argument(equal),
        )
        return [run for run in map(parse_run, found) if _has_fields(run, equal)]

    def get_run(self, run_id: str) -> Run:
        """The run. Raises NotFoundError if there is none."""
        return parse_run(
            self._transport.call_with_retries(
                f"find run {run_id}", self._runs.run_service_get_run, run_id
            )
        )

    def find_workflow(self, run_id: str) -> Workflow | None:
        """The run's workflow as the server stored it last; None where it shows none."""

        def call(**options: Any) -> Any:
            return self._transport.api_client.call_api(
                _WORKFLOW_PATH,
                "GET",
                {"run_id": run_id},
                [],
                {"Accept": "application/json"},
                response_type="object",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                **options,
            )

        try:
            found = self._transport.call_with_retries(f"read the workflow of run {run_id}", call)
        except (NotFoundError, InvalidRequestError, PermissionDeniedError):
            return None
        runtime = found.get("pipeline_runtime") or {}
        return parse_workflow(runtime.get("workflow_manifest") or "")

    def create_run(self, body: Mapping[str, Any]) -> Run:
        """Create a run, in one attempt: AmbiguousOutcomeError or RateLimitedError if it failed."""
        create = self._runs.run_service_create_run
        return parse_run(self._transport.call_once("create the run", create, dict(body)))

    def terminate_run(self, run_id: str) -> None:
        """Ask the run to stop; does nothing if it has ended."""
        _ignore_missing(
            lambda: self._transport.call_with_retries(
                f"stop run {run_id}", self._runs.run_service_terminate_run, run_id
            )
        )

    def delete_run(self, run_id: str) -> None:
        """Delete the run; does nothing if there is none."""
        _ignore_missing(
            lambda: self._transport.call_with_retries(
                f"delete run {run_id}", self._runs.run_service_delete_run, run_id
            )
        )

    def list_schedules(self, experiment_id: str, **equal: str) -> list[Schedule]:
        """Recurring runs of the experiment, filtered by display_name."""
        found = self._transport.list_all(
            "list schedules",
            self._schedules.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            experiment_id=experiment_id,
            **_build_filter_argument(equal),
        )
        return [schedule for schedule in map(parse_schedule, found) if _has_fields(schedule, equal)]

    def create_schedule(self, body: Mapping[str, Any]) -> Schedule:
        """Create a recurring run, in one attempt; errors as of `create_run`."""
        create = self._schedules.recurring_run_service_create_recurring_run
        return parse_schedule(self._transport.call_once("create the schedule", create, dict(body)))

    def set_schedule_enabled(self, schedule_id: str, enabled: bool) -> None:
        """Let the recurring run start runs, or pause it. Raises NotFoundError if there is none."""
        service = self._schedules
        call = (
            service.recurring_run_service_enable_recurring_run
            if enabled
            else service.recurring_run_service_disable_recurring_run
        )
        action = f"{'enable' if enabled else 'pause'} schedule {schedule_id}"
        self._transport.call_with_retries(action, call, schedule_id)

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete the recurring run; its runs continue. Does nothing if there is none."""
        # Without the policy Kubernetes deletes the runs in progress along with their schedule.
        _ignore_missing(
            lambda: self._transport.call_with_retries(
                f"delete schedule {schedule_id}",
                self._schedules.recurring_run_service_delete_recurring_run,
                schedule_id,
                propagation_policy="ORPHAN",
            )
        )

    def _namespace_argument(self) -> dict[str, Any]:
        return {} if self.namespace is None else {"namespace": self.namespace}


def _ignore_missing(call: Callable[[], object]) -> None:
    """Make a call that stops or deletes an object; one that is gone, or has ended, is ignored."""
    try:
        call()
    except NotFoundError:
        return
    except InvalidRequestError as error:
        if "Row not found" not in str(error):
            raise


def _build_filter_argument(equal: Mapping[str, str]) -> dict[str, Any]:
    return {"filter": _build_equality_filter(**equal)} if equal else {}


def _build_equality_filter(**values: str) -> str:
    """A filter of the API, quoted: the server decodes it once more than other parameters."""
    predicates = [
        {"operation": "EQUALS", "key": key, "string_value": value} for key, value in values.items()
    ]
    return quote(json.dumps({"predicates": predicates}))


def _has_fields(record: Run | Schedule, equal: Mapping[str, str]) -> bool:
    return all(getattr(record, _RECORD_FIELDS[name]) == value for name, value in equal.items())
