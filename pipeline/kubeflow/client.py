"""The only place that talks to the Kubeflow Pipelines API (v2beta1): plain records out, clear errors, bounded repetition.

Built on the generated `kfp_server_api`, not on `kfp.Client`: that prints, reads and writes a context file in the home directory, and
repeats nothing. Calls that change nothing, or that may be made twice, are repeated while the server is overloaded or away. Creating a
run or a schedule is sent once per call: whether a failed one took effect is `Uncertain`, and the caller looks before it asks again.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import kfp_server_api as kfp
import tenacity
from urllib3.exceptions import HTTPError, SSLError

from components.errors import KubertError
from components.redaction import redact
from pipeline.kubeflow.endpoint import Endpoint
from pipeline.kubeflow.errors import (
    TEMPORARY,
    Busy,
    Denied,
    Missing,
    Refused,
    ServerFailed,
    Temporary,
    Uncertain,
    json_body,
    message,
    reason,
    retry_after,
    time_of,
)
from pipeline.kubeflow.records import Health, Run, Schedule, run_of, schedule_of

TIMEOUT = (5.0, 30.0)
ATTEMPTS = 6
PATIENCE = 60.0
LONGEST_WAIT = 15.0
PAGE = 100
T = TypeVar("T")


class KfpApi:
    """The calls that kubert makes, against one endpoint and in one namespace."""

    def __init__(
        self,
        endpoint: Endpoint,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self.endpoint, self._sleep, self._patience = endpoint, sleep, patience
        settings = kfp.Configuration(host=endpoint.url)
        settings.retries = False  # neither urllib3's own repetition nor redirects, which would carry the credential elsewhere
        settings.ssl_ca_cert = endpoint.ca_file
        if endpoint.credential == "token":
            settings.api_key, settings.api_key_prefix = (
                {"authorization": "-"},
                {"authorization": "Bearer"},
            )
            settings.refresh_api_key_hook = _renewed(endpoint.secret)
        self._client = kfp.ApiClient(settings)
        self._runs, self._schedules = (
            kfp.RunServiceApi(self._client),
            kfp.RecurringRunServiceApi(self._client),
        )
        self._pipelines, self._uploads = (
            kfp.PipelineServiceApi(self._client),
            kfp.PipelineUploadServiceApi(self._client),
        )
        self._experiments, self._health = (
            kfp.ExperimentServiceApi(self._client),
            kfp.HealthzServiceApi(self._client),
        )
        self._namespace: str | None = None
        self._ahead = datetime.timedelta(0)

    def now(self) -> datetime.datetime:
        """The server's time, by the last reply that told it; schedules and runs are dated by that clock."""
        return datetime.datetime.now(datetime.UTC) + self._ahead

    @property
    def namespace(self) -> str | None:
        """The namespace that calls name; None for a server that knows no users, or before `health`."""
        return self._namespace

    def health(self) -> Health:
        """What the server says of itself; it also settles whether calls name a namespace (multi-user)."""
        found = self._again("reach Kubeflow Pipelines", self._health.healthz_service_get_healthz)
        self._namespace = self.endpoint.namespace if found.multi_user else None
        version = json.loads(self._client.last_response.data).get(
            "tag_name"
        )  # not in the generated model
        return Health(version=str(version or ""), multi_user=bool(found.multi_user))

    def experiment(self, name: str) -> str | None:
        """Id of the experiment of this name, if there is one."""
        action = f"find experiment {name}"
        filtered: dict[str, Any] = {"filter": _equal(display_name=name), **self._place()}
        found = self._listed(
            action, self._experiments.experiment_service_list_experiments, "experiments", **filtered
        )
        return next((str(item.experiment_id) for item in found if item.display_name == name), None)

    def create_experiment(self, name: str) -> str:
        """Id of the experiment of this name, made if it is not there."""
        body = kfp.V2beta1Experiment(display_name=name, **self._place())
        return self._found_or_made(
            f"create experiment {name}",
            lambda: self.experiment(name),
            lambda: (
                self._experiments.experiment_service_create_experiment(
                    body, _request_timeout=TIMEOUT
                ).experiment_id
            ),
        )

    def pipeline(self, name: str) -> str | None:
        """Id of the pipeline of this name, if there is one."""
        try:
            found = self._again(
                f"find pipeline {name}",
                self._pipelines.pipeline_service_get_pipeline_by_name,
                name,
                **self._place(),
            )
        except Missing:
            return None
        return str(found.pipeline_id)

    def create_pipeline(self, name: str, description: str) -> str:
        """Id of the pipeline of this name, made without a version if it is not there."""
        body = kfp.V2beta1Pipeline(
            name=name, display_name=name, description=description, **self._place()
        )
        return self._found_or_made(
            f"create pipeline {name}",
            lambda: self.pipeline(name),
            lambda: (
                self._pipelines.pipeline_service_create_pipeline(
                    body, _request_timeout=TIMEOUT
                ).pipeline_id
            ),
        )

    def version(self, pipeline: str, name: str) -> str | None:
        """Id of the pipeline's version of this name, if there is one."""
        call = self._pipelines.pipeline_service_list_pipeline_versions
        found = self._listed(
            f"find pipeline version {name}",
            call,
            "pipeline_versions",
            pipeline,
            filter=_equal(name=name),
        )
        return next(
            (
                str(item.pipeline_version_id)
                for item in found
                if name in (item.name, item.display_name)
            ),
            None,
        )

    def upload_version(self, pipeline: str, name: str, package: Path) -> str:
        """Id of the pipeline's version of this name, uploaded from a compiled pipeline if it is not there."""
        return self._found_or_made(
            f"upload pipeline version {name}",
            lambda: self.version(pipeline, name),
            lambda: (
                self._uploads.upload_pipeline_version(
                    str(package),
                    name=name,
                    display_name=name,
                    pipelineid=pipeline,
                    _request_timeout=TIMEOUT,
                ).pipeline_version_id
            ),
        )

    def runs(self, experiment: str, *, limit: int | None = None, **equal: str) -> list[Run]:
        """Runs of the experiment, newest first, with these values exactly: display_name, recurring_run_id, storage_state."""
        options: dict[str, Any] = {
            "experiment_id": experiment,
            "sort_by": "created_at desc",
            **({"filter": _equal(**equal)} if equal else {}),
        }
        found = map(
            run_of,
            self._listed(
                "list runs", self._runs.run_service_list_runs, "runs", limit=limit, **options
            ),
        )
        return [
            run
            for run in found
            if all(getattr(run, _FIELDS[name]) == value for name, value in equal.items())
        ]

    def run(self, identifier: str) -> Run:
        """The run; Missing if there is none."""
        return run_of(
            self._again(f"find run {identifier}", self._runs.run_service_get_run, identifier)
        )

    def create_run(self, body: Mapping[str, Any]) -> Run:
        """Create a run, in one attempt; Uncertain, Busy, Denied or Refused if that failed."""
        return run_of(self._once("create the run", self._runs.run_service_create_run, dict(body)))

    def terminate_run(self, identifier: str) -> None:
        """Ask the run to stop; nothing happens if it has ended."""
        with_nothing_to_do(
            lambda: self._again(
                f"stop run {identifier}", self._runs.run_service_terminate_run, identifier
            )
        )

    def delete_run(self, identifier: str) -> None:
        """Remove the run; nothing happens if there is none."""
        with_nothing_to_do(
            lambda: self._again(
                f"delete run {identifier}", self._runs.run_service_delete_run, identifier
            )
        )

    def schedules(self, experiment: str, **equal: str) -> list[Schedule]:
        """Recurring runs of the experiment, with these values exactly: display_name."""
        options: dict[str, Any] = {
            "experiment_id": experiment,
            **({"filter": _equal(**equal)} if equal else {}),
        }
        call = self._schedules.recurring_run_service_list_recurring_runs
        found = map(schedule_of, self._listed("list schedules", call, "recurring_runs", **options))
        return [
            schedule
            for schedule in found
            if all(getattr(schedule, _FIELDS[name]) == value for name, value in equal.items())
        ]

    def create_schedule(self, body: Mapping[str, Any]) -> Schedule:
        """Create a recurring run, in one attempt; Uncertain, Busy, Denied or Refused if that failed."""
        call = self._schedules.recurring_run_service_create_recurring_run
        return schedule_of(self._once("create the schedule", call, dict(body)))

    def enable_schedule(self, identifier: str, enabled: bool) -> None:
        """Let the recurring run start runs, or no more; Missing if there is none."""
        api = self._schedules
        call = (
            api.recurring_run_service_enable_recurring_run
            if enabled
            else api.recurring_run_service_disable_recurring_run
        )
        self._again(f"{'enable' if enabled else 'pause'} schedule {identifier}", call, identifier)

    def delete_schedule(self, identifier: str) -> None:
        """Remove the recurring run; its runs go on. Nothing happens if there is none."""
        # Without the policy Kubernetes removes the runs under way along with their schedule.
        call = self._schedules.recurring_run_service_delete_recurring_run
        with_nothing_to_do(
            lambda: self._again(
                f"delete schedule {identifier}", call, identifier, propagation_policy="ORPHAN"
            )
        )

    def _place(self) -> dict[str, str]:
        return {} if self._namespace is None else {"namespace": self._namespace}

    def _listed(
        self,
        action: str,
        call: Callable[..., Any],
        items: str,
        *arguments: str,
        limit: int | None = None,
        **options: Any,
    ) -> Iterable[Any]:
        found: list[Any] = []
        token = ""
        while True:
            page = self._again(
                action,
                call,
                *arguments,
                page_size=min(limit or PAGE, PAGE),
                page_token=token,
                **options,
            )
            found += getattr(page, items) or []
            token = page.next_page_token or ""
            if not token or (limit is not None and len(found) >= limit):
                return found[:limit]

    def _found_or_made(
        self, action: str, find: Callable[[], str | None], make: Callable[[], str]
    ) -> str:
        """What has a name that is unique on the server: another's, or a lost reply's, is as good as ours."""
        if found := find():
            return found

        def attempt(**_: Any) -> str:
            try:
                return self._attempt(action, make)
            except Temporary:
                if found := find():
                    return found
                raise
            except Refused as error:
                if error.conflict and (found := find()):
                    return found
                raise

        return str(self._repeated(action, attempt))

    def _again(self, action: str, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return self._repeated(
            action,
            lambda: self._attempt(
                action, lambda: call(*arguments, _request_timeout=TIMEOUT, **options)
            ),
        )

    def _once(self, action: str, call: Callable[..., T], body: dict[str, Any]) -> T:
        try:
            return self._attempt(action, lambda: call(body, _request_timeout=TIMEOUT))
        except Temporary as error:
            if error.untouched:
                raise Busy(
                    f"{self._said()} is overloaded ({error}); nothing was created", error.seconds
                ) from None
            raise Uncertain(f"{self._said()} failed to {action}: {error}") from None

    def _repeated(self, action: str, call: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Temporary),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(self._patience),
            wait=_asked_or_rising,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(call)
        except Temporary as error:
            tries = retrying.statistics["attempt_number"]
            raise ServerFailed(
                f"{self._said()} failed to {action}: {error} (attempts: {tries}). Is the address right and the server up? "
                f"{self.endpoint.url}/apis/v2beta1/healthz should answer"
            ) from None

    def _attempt(self, action: str, call: Callable[[], T]) -> T:
        # A cookie has no hook of its own in the generated client.
        self._client.cookie = (
            self.endpoint.secret() if self.endpoint.credential == "cookie" else None
        )
        try:
            answer = call()
        except kfp.ApiException as error:
            raise self._explained(action, error) from None
        except SSLError as error:
            raise self._not_trusted(error) from None
        except HTTPError as error:
            raise Temporary(reason(error)) from None
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            if isinstance(error.__context__, kfp.ApiException) and not error.__context__.status:
                raise self._not_trusted(error.__context__) from None
            raise self._no_api(f"{type(error).__name__} while reading its answer") from None
        content = self._client.last_response.getheader("content-type") or ""
        if "json" not in content.lower():
            raise self._no_api(f"an answer of type {content or 'unknown'}")
        if date := time_of(self._client.last_response.getheader("date") or ""):
            self._ahead = date - datetime.datetime.now(datetime.UTC)
        return answer

    def _explained(self, action: str, error: Any) -> Exception:
        status, said = int(error.status or 0), self._without_secret(message(error))
        if status == 0:
            return self._not_trusted(error)
        if status in TEMPORARY:
            return Temporary(
                f"{status} {said}".strip(), retry_after(error), untouched=status == 429
            )
        if status in (301, 302, 303, 307, 308, 401):
            how = {
                "token": "the token is missing, expired or of the wrong audience",
                "cookie": "the cookie has expired: sign in again and copy it anew",
            }
            hint = how.get(
                self.endpoint.credential,
                "set KUBERT_TOKEN or KUBERT_COOKIE, or use cluster.auth=port-forward",
            )
            return Denied(
                f"{self._said()} does not know who asks ({status}{': ' if said else ''}{said}); {hint}"
            )
        if status == 403:
            return Denied(
                f"not allowed to {action} at {self.endpoint.url}: {said}\n"
                f"ask for the right in namespace {self.endpoint.namespace} (k8s/ has a role for it), or choose another with --namespace"
            )
        if status == 404 and isinstance(json_body(error), dict):
            return Missing(f"cannot {action}: {said}")
        if status in (404, 405, 501):
            return self._no_api(f"{status} for a path of the v2beta1 API")
        return Refused(
            f"{self._said()} refuses to {action} ({status}): {said}", conflict=status == 409
        )

    def _no_api(self, what: str) -> KubertError:
        return Denied(
            f"{self.endpoint.url} does not answer as a Kubeflow Pipelines API (v2): {what}. Is the address right "
            "(behind Kubeflow's dashboard it ends in /pipeline), and who asks known there (KUBERT_TOKEN, KUBERT_COOKIE)?"
        )

    def _not_trusted(self, error: BaseException) -> KubertError:
        reason = redact(str(getattr(error, "reason", None) or error))
        return Denied(
            f"{self.endpoint.url}: its certificate is not trusted: {reason}; set KUBERT_CA to the authority's PEM file"
        )

    def _without_secret(self, text: str) -> str:
        secret = self.endpoint.secret() if self.endpoint.credential != "none" else ""
        return text.replace(secret, "***") if secret else text

    def _said(self) -> str:
        return f"Kubeflow Pipelines at {self.endpoint.url}"


_FIELDS = {"display_name": "name", "recurring_run_id": "schedule"}


def with_nothing_to_do(call: Callable[[], Any]) -> None:
    """Make a call whose effect may be there already: what is gone, or has ended, cannot be stopped or removed again."""
    try:
        call()
    except Missing:
        return
    except Refused as error:
        if "Row not found" not in str(error):
            raise


def _equal(**values: str) -> str:
    predicates = [
        {"operation": "EQUALS", "key": key, "string_value": value} for key, value in values.items()
    ]
    return quote(
        json.dumps({"predicates": predicates})
    )  # the server decodes a filter once more than any other parameter


def _renewed(secret: Callable[[], str]) -> Callable[[Any], None]:
    def renew(settings: Any) -> None:
        settings.api_key["authorization"] = secret()

    return renew


def _asked_or_rising(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, Temporary) else None
    return (
        min(asked, LONGEST_WAIT)
        if asked is not None
        else tenacity.wait_random_exponential(multiplier=0.3, max=LONGEST_WAIT)(state)
    )
