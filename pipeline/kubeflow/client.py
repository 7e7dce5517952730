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
from components.redaction import redact_to_line
from pipeline.kubeflow.endpoint import Endpoint
from pipeline.kubeflow.errors import (
    TRANSIENT_STATUS_CODES,
    AmbiguousOutcomeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerUnavailableError,
    TransientError,
    describe_connection_error,
    extract_message,
    parse_http_date,
    parse_json_body,
    parse_retry_after,
)
from pipeline.kubeflow.records import Run, Schedule, ServerHealth, parse_run, parse_schedule

REQUEST_TIMEOUT_SECONDS = (5.0, 30.0)
MAX_ATTEMPTS = 6
RETRY_TIMEOUT_SECONDS = 60.0
MAX_RETRY_WAIT_SECONDS = 15.0
PAGE_SIZE = 100
T = TypeVar("T")


class KubeflowClient:
    """The calls that kubert makes, against one endpoint and in one namespace."""

    def __init__(
        self,
        endpoint: Endpoint,
        sleep: Callable[[float], None] = time.sleep,
        retry_timeout_seconds: float = RETRY_TIMEOUT_SECONDS,
    ) -> None:
        self.endpoint, self._sleep, self._retry_timeout_seconds = (
            endpoint,
            sleep,
            retry_timeout_seconds,
        )
        settings = kfp.Configuration(host=endpoint.url)
        settings.retries = False  # neither urllib3's own repetition nor redirects, which would carry the credential elsewhere
        settings.ssl_ca_cert = endpoint.ca_file
        if endpoint.credential == "token":
            settings.api_key, settings.api_key_prefix = (
                {"authorization": "-"},
                {"authorization": "Bearer"},
            )
            settings.refresh_api_key_hook = _renew_token_hook(endpoint.read_secret)
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

    def server_time(self) -> datetime.datetime:
        """The server's time, by the last reply that told it; schedules and runs are dated by that clock."""
        return datetime.datetime.now(datetime.UTC) + self._ahead

    @property
    def namespace(self) -> str | None:
        """The namespace that calls name; None for a server that knows no users, or before `health`."""
        return self._namespace

    def get_health(self) -> ServerHealth:
        """What the server says of itself; it also settles whether calls name a namespace (multi-user)."""
        found = self._call_with_retries(
            "reach Kubeflow Pipelines", self._health.healthz_service_get_healthz
        )
        self._namespace = self.endpoint.namespace if found.multi_user else None
        version = json.loads(self._client.last_response.data).get(
            "tag_name"
        )  # not in the generated model
        return ServerHealth(version=str(version or ""), multi_user=bool(found.multi_user))

    def find_experiment(self, name: str) -> str | None:
        """Id of the experiment of this name, if there is one."""
        action = f"find experiment {name}"
        filtered: dict[str, Any] = {
            "filter": _build_equality_filter(display_name=name),
            **self._namespace_argument(),
        }
        found = self._list_all(
            action, self._experiments.experiment_service_list_experiments, "experiments", **filtered
        )
        return next((str(item.experiment_id) for item in found if item.display_name == name), None)

    def ensure_experiment(self, name: str) -> str:
        """Id of the experiment of this name, made if it is not there."""
        body = kfp.V2beta1Experiment(display_name=name, **self._namespace_argument())
        return self._find_or_create(
            f"create experiment {name}",
            lambda: self.find_experiment(name),
            lambda: (
                self._experiments.experiment_service_create_experiment(
                    body, _request_timeout=REQUEST_TIMEOUT_SECONDS
                ).experiment_id
            ),
        )

    def find_pipeline(self, name: str) -> str | None:
        """Id of the pipeline of this name, if there is one."""
        try:
            found = self._call_with_retries(
                f"find pipeline {name}",
                self._pipelines.pipeline_service_get_pipeline_by_name,
                name,
                **self._namespace_argument(),
            )
        except NotFoundError:
            return None
        return str(found.pipeline_id)

    def ensure_pipeline(self, name: str, description: str) -> str:
        """Id of the pipeline of this name, made without a version if it is not there."""
        body = kfp.V2beta1Pipeline(
            name=name, display_name=name, description=description, **self._namespace_argument()
        )
        return self._find_or_create(
            f"create pipeline {name}",
            lambda: self.find_pipeline(name),
            lambda: (
                self._pipelines.pipeline_service_create_pipeline(
                    body, _request_timeout=REQUEST_TIMEOUT_SECONDS
                ).pipeline_id
            ),
        )

    def find_pipeline_version(self, pipeline: str, name: str) -> str | None:
        """Id of the pipeline's version of this name, if there is one."""
        call = self._pipelines.pipeline_service_list_pipeline_versions
        found = self._list_all(
            f"find pipeline version {name}",
            call,
            "pipeline_versions",
            pipeline,
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

    def ensure_pipeline_version(self, pipeline: str, name: str, package: Path) -> str:
        """Id of the pipeline's version of this name, uploaded from a compiled pipeline if it is not there."""
        return self._find_or_create(
            f"upload pipeline version {name}",
            lambda: self.find_pipeline_version(pipeline, name),
            lambda: (
                self._uploads.upload_pipeline_version(
                    str(package),
                    name=name,
                    display_name=name,
                    pipelineid=pipeline,
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                ).pipeline_version_id
            ),
        )

    def list_runs(self, experiment: str, *, limit: int | None = None, **equal: str) -> list[Run]:
        """Runs of the experiment, newest first, with these values exactly: display_name, recurring_run_id, storage_state."""
        options: dict[str, Any] = {
            "experiment_id": experiment,
            "sort_by": "created_at desc",
            **({"filter": _build_equality_filter(**equal)} if equal else {}),
        }
        found = map(
            parse_run,
            self._list_all(
                "list runs", self._runs.run_service_list_runs, "runs", limit=limit, **options
            ),
        )
        return [
            run
            for run in found
            if all(getattr(run, _FIELDS[name]) == value for name, value in equal.items())
        ]

    def get_run(self, identifier: str) -> Run:
        """The run; Missing if there is none."""
        return parse_run(
            self._call_with_retries(
                f"find run {identifier}", self._runs.run_service_get_run, identifier
            )
        )

    def create_run(self, body: Mapping[str, Any]) -> Run:
        """Create a run, in one attempt; Uncertain, Busy, Denied or Refused if that failed."""
        return parse_run(
            self._call_once("create the run", self._runs.run_service_create_run, dict(body))
        )

    def terminate_run(self, identifier: str) -> None:
        """Ask the run to stop; nothing happens if it has ended."""
        ignore_missing_target(
            lambda: self._call_with_retries(
                f"stop run {identifier}", self._runs.run_service_terminate_run, identifier
            )
        )

    def delete_run(self, identifier: str) -> None:
        """Remove the run; nothing happens if there is none."""
        ignore_missing_target(
            lambda: self._call_with_retries(
                f"delete run {identifier}", self._runs.run_service_delete_run, identifier
            )
        )

    def list_schedules(self, experiment: str, **equal: str) -> list[Schedule]:
        """Recurring runs of the experiment, with these values exactly: display_name."""
        options: dict[str, Any] = {
            "experiment_id": experiment,
            **({"filter": _build_equality_filter(**equal)} if equal else {}),
        }
        call = self._schedules.recurring_run_service_list_recurring_runs
        found = map(
            parse_schedule, self._list_all("list schedules", call, "recurring_runs", **options)
        )
        return [
            schedule
            for schedule in found
            if all(getattr(schedule, _FIELDS[name]) == value for name, value in equal.items())
        ]

    def create_schedule(self, body: Mapping[str, Any]) -> Schedule:
        """Create a recurring run, in one attempt; Uncertain, Busy, Denied or Refused if that failed."""
        call = self._schedules.recurring_run_service_create_recurring_run
        return parse_schedule(self._call_once("create the schedule", call, dict(body)))

    def set_schedule_enabled(self, identifier: str, enabled: bool) -> None:
        """Let the recurring run start runs, or no more; Missing if there is none."""
        api = self._schedules
        call = (
            api.recurring_run_service_enable_recurring_run
            if enabled
            else api.recurring_run_service_disable_recurring_run
        )
        self._call_with_retries(
            f"{'enable' if enabled else 'pause'} schedule {identifier}", call, identifier
        )

    def delete_schedule(self, identifier: str) -> None:
        """Remove the recurring run; its runs go on. Nothing happens if there is none."""
        # Without the policy Kubernetes removes the runs under way along with their schedule.
        call = self._schedules.recurring_run_service_delete_recurring_run
        ignore_missing_target(
            lambda: self._call_with_retries(
                f"delete schedule {identifier}", call, identifier, propagation_policy="ORPHAN"
            )
        )

    def _namespace_argument(self) -> dict[str, str]:
        return {} if self._namespace is None else {"namespace": self._namespace}

    def _list_all(
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
            page = self._call_with_retries(
                action,
                call,
                *arguments,
                page_size=min(limit or PAGE_SIZE, PAGE_SIZE),
                page_token=token,
                **options,
            )
            found += getattr(page, items) or []
            token = page.next_page_token or ""
            if not token or (limit is not None and len(found) >= limit):
                return found[:limit]

    def _find_or_create(
        self, action: str, find: Callable[[], str | None], make: Callable[[], str]
    ) -> str:
        """What has a name that is unique on the server: another's, or a lost reply's, is as good as ours."""
        if found := find():
            return found

        def attempt(**_: Any) -> str:
            try:
                return self._call_and_translate_errors(action, make)
            except TransientError:
                if found := find():
                    return found
                raise
            except InvalidRequestError as error:
                if error.conflict and (found := find()):
                    return found
                raise

        return str(self._retry(action, attempt))

    def _call_with_retries(
        self, action: str, call: Callable[..., T], *arguments: Any, **options: Any
    ) -> T:
        return self._retry(
            action,
            lambda: self._call_and_translate_errors(
                action,
                lambda: call(*arguments, _request_timeout=REQUEST_TIMEOUT_SECONDS, **options),
            ),
        )

    def _call_once(self, action: str, call: Callable[..., T], body: dict[str, Any]) -> T:
        try:
            return self._call_and_translate_errors(
                action, lambda: call(body, _request_timeout=REQUEST_TIMEOUT_SECONDS)
            )
        except TransientError as error:
            if error.untouched:
                raise RateLimitedError(
                    f"{self._server_label()} is overloaded ({error}); nothing was created",
                    error.seconds,
                ) from None
            raise AmbiguousOutcomeError(
                f"{self._server_label()} failed to {action}: {error}"
            ) from None

    def _retry(self, action: str, call: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(MAX_ATTEMPTS)
            | tenacity.stop_after_delay(self._retry_timeout_seconds),
            wait=_retry_wait_seconds,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(call)
        except TransientError as error:
            tries = retrying.statistics["attempt_number"]
            raise ServerUnavailableError(
                f"{self._server_label()} failed to {action}: {error} (attempts: {tries}). Is the address right and the server up? "
                f"{self.endpoint.url}/apis/v2beta1/healthz should answer"
            ) from None

    def _call_and_translate_errors(self, action: str, call: Callable[[], T]) -> T:
        # A cookie has no hook of its own in the generated client.
        self._client.cookie = (
            self.endpoint.read_secret() if self.endpoint.credential == "cookie" else None
        )
        try:
            answer = call()
        except kfp.ApiException as error:
            raise self._translate_error(action, error) from None
        except SSLError as error:
            raise self._untrusted_certificate_error(error) from None
        except HTTPError as error:
            raise TransientError(describe_connection_error(error)) from None
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            if isinstance(error.__context__, kfp.ApiException) and not error.__context__.status:
                raise self._untrusted_certificate_error(error.__context__) from None
            raise self._not_an_api_error(
                f"{type(error).__name__} while reading its answer"
            ) from None
        content = self._client.last_response.getheader("content-type") or ""
        if "json" not in content.lower():
            raise self._not_an_api_error(f"an answer of type {content or 'unknown'}")
        if date := parse_http_date(self._client.last_response.getheader("date") or ""):
            self._ahead = date - datetime.datetime.now(datetime.UTC)
        return answer

    def _translate_error(self, action: str, error: Any) -> Exception:
        status, said = int(error.status or 0), self._remove_secret(extract_message(error))
        if status == 0:
            return self._untrusted_certificate_error(error)
        if status in TRANSIENT_STATUS_CODES:
            return TransientError(
                f"{status} {said}".strip(), parse_retry_after(error), untouched=status == 429
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
            return PermissionDeniedError(
                f"{self._server_label()} does not know who asks ({status}{': ' if said else ''}{said}); {hint}"
            )
        if status == 403:
            return PermissionDeniedError(
                f"not allowed to {action} at {self.endpoint.url}: {said}\n"
                f"ask for the right in namespace {self.endpoint.namespace} (k8s/ has a role for it), or choose another with --namespace"
            )
        if status == 404 and isinstance(parse_json_body(error), dict):
            return NotFoundError(f"cannot {action}: {said}")
        if status in (404, 405, 501):
            return self._not_an_api_error(f"{status} for a path of the v2beta1 API")
        return InvalidRequestError(
            f"{self._server_label()} refuses to {action} ({status}): {said}", conflict=status == 409
        )

    def _not_an_api_error(self, what: str) -> KubertError:
        return PermissionDeniedError(
            f"{self.endpoint.url} does not answer as a Kubeflow Pipelines API (v2): {what}. Is the address right "
            "(behind Kubeflow's dashboard it ends in /pipeline), and who asks known there (KUBERT_TOKEN, KUBERT_COOKIE)?"
        )

    def _untrusted_certificate_error(self, error: BaseException) -> KubertError:
        reason = redact_to_line(str(getattr(error, "reason", None) or error))
        return PermissionDeniedError(
            f"{self.endpoint.url}: its certificate is not trusted: {reason}; set KUBERT_CA to the authority's PEM file"
        )

    def _remove_secret(self, text: str) -> str:
        secret = self.endpoint.read_secret() if self.endpoint.credential != "none" else ""
        return text.replace(secret, "***") if secret else text

    def _server_label(self) -> str:
        return f"Kubeflow Pipelines at {self.endpoint.url}"


_FIELDS = {"display_name": "name", "recurring_run_id": "schedule_id"}


def ignore_missing_target(call: Callable[[], Any]) -> None:
    """Make a call whose effect may be there already: what is gone, or has ended, cannot be stopped or removed again."""
    try:
        call()
    except NotFoundError:
        return
    except InvalidRequestError as error:
        if "Row not found" not in str(error):
            raise


def _build_equality_filter(**values: str) -> str:
    predicates = [
        {"operation": "EQUALS", "key": key, "string_value": value} for key, value in values.items()
    ]
    return quote(
        json.dumps({"predicates": predicates})
    )  # the server decodes a filter once more than any other parameter


def _renew_token_hook(secret: Callable[[], str]) -> Callable[[Any], None]:
    def renew(settings: Any) -> None:
        settings.api_key["authorization"] = secret()

    return renew


def _retry_wait_seconds(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, TransientError) else None
    return (
        min(asked, MAX_RETRY_WAIT_SECONDS)
        if asked is not None
        else tenacity.wait_random_exponential(multiplier=0.3, max=MAX_RETRY_WAIT_SECONDS)(state)
    )
