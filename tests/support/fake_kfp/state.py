"""What a Kubeflow Pipelines server (2.17) remembers and does, after its published v2beta1 API and its sources: a stand-in for tests.

Faithful in: paths, names and types of fields, what is absent, status codes and texts of errors, filters, pages, uniqueness of names (and
that runs and schedules have none), how a schedule's slots are found, missed, caught up with and held back by `max_concurrency`, and what
deleting a schedule does to its runs. Not here: anything that Kubernetes or Argo would do. Runs move when a test says so.
"""

from __future__ import annotations

import datetime
import itertools
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from cronsim import CronSim, CronSimError

Object = dict[str, Any]
NEVER = "1970-01-01T00:00:00Z"
RUN_FIELDS = {
    "experiment_id", "run_id", "display_name", "description", "pipeline_version_id", "pipeline_spec", "pipeline_version_reference",
    "runtime_config", "service_account", "scheduled_at", "recurring_run_id",
}  # fmt: skip
SCHEDULE_FIELDS = {
    "display_name", "description", "pipeline_spec", "pipeline_version_reference", "runtime_config", "service_account", "max_concurrency",
    "trigger", "mode", "no_catchup", "namespace", "experiment_id",
}  # fmt: skip
FILTERS = {
    "runs": {
        "run_id",
        "display_name",
        "created_at",
        "description",
        "storage_state",
        "state",
        "namespace",
        "experiment_id",
        "recurring_run_id",
    },
    "recurringRuns": {
        "recurring_run_id",
        "display_name",
        "created_at",
        "updated_at",
        "description",
    },
    "pipeline_versions": {
        "pipeline_version_id",
        "name",
        "display_name",
        "created_at",
        "description",
    },
    "experiments": {
        "experiment_id",
        "display_name",
        "created_at",
        "description",
        "namespace",
        "storage_state",
    },
}
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


class Answer(Exception):
    """An error as the server answers it."""

    def __init__(self, status: int, text: str, code: int) -> None:
        super().__init__(text)
        self.status = status
        self.body = {
            "code": code,
            "message": f"Failed: {text}",
            "details": [{"@type": "google.rpc.Status", "code": code, "message": text}],
        }


def bad(text: str) -> Answer:
    return Answer(400, text, 3)


def missing(text: str) -> Answer:
    return Answer(404, text, 5)


def conflict(text: str) -> Answer:
    return Answer(409, text, 6)


def internal() -> Answer:
    return Answer(500, "Internal Server Error", 13)


@dataclass
class State:
    """All of it. `clock` gives the time; `tick` is the controller looking at the schedules once."""

    clock: Callable[[], datetime.datetime]
    multi_user: bool = False
    version: str = "2.17.0"
    created: datetime.datetime | None = None
    lock: Any = field(default_factory=threading.RLock)
    experiments: dict[str, Object] = field(default_factory=dict)
    pipelines: dict[str, Object] = field(default_factory=dict)
    versions: dict[str, Object] = field(default_factory=dict)
    runs: dict[str, Object] = field(default_factory=dict)
    schedules: dict[str, Object] = field(default_factory=dict)
    triggered: dict[str, tuple[int, datetime.datetime | None]] = field(default_factory=dict)

    def now(self) -> str:
        return stamp(self.clock())

    def healthz(self) -> Object:
        return {
            "commit_sha": "0" * 40,
            "tag_name": self.version,
            "multi_user": self.multi_user,
            "pipeline_store": "database",
        }

    def create_experiment(self, body: Object) -> Object:
        known(body, {"display_name", "description", "namespace"})
        name = body.get("display_name", "")
        if not name or len(name) > 128:
            raise internal()
        namespace = self._namespace(body.get("namespace", ""))
        if any(
            item["display_name"] == name and item.get("namespace", "") == namespace
            for item in self.experiments.values()
        ):
            raise conflict(
                f"Failed to create a new experiment. The name {name} already exists. Please specify a new name"
            )
        made = {
            **body,
            "experiment_id": new_id(),
            "created_at": self.now(),
            "namespace": namespace,
            "storage_state": "AVAILABLE",
        }
        return put(self.experiments, "experiment_id", {**made, "last_run_created_at": NEVER})

    def create_pipeline(self, body: Object) -> Object:
        known(body, {"name", "display_name", "description", "namespace", "tags"})
        name, namespace = (
            body.get("name") or body.get("display_name", ""),
            self._namespace(body.get("namespace", "")),
        )
        if any(
            item["name"] == name and item.get("namespace", "") == namespace
            for item in self.pipelines.values()
        ):
            raise conflict("Failed to create a new pipeline. The name already exists")
        made = {
            **body,
            "name": name,
            "namespace": namespace,
            "pipeline_id": new_id(),
            "created_at": self.now(),
        }
        return put(self.pipelines, "pipeline_id", made)

    def pipeline_by_name(self, name: str, namespace: str) -> Object:
        namespace = self._namespace(namespace)
        for item in self.pipelines.values():
            if item["name"] == name and item.get("namespace", "") == namespace:
                return item
        raise missing(f"Namespace/Pipeline {namespace}/{name} not found")

    def upload_version(self, pipeline: str, name: str, display_name: str, package: bytes) -> Object:
        if pipeline not in self.pipelines:
            raise bad("Failed to create a pipeline version")
        if any(
            item["pipeline_id"] == pipeline and item["name"] == name
            for item in self.versions.values()
        ):
            raise conflict("Failed to create a pipeline version")
        spec = package.decode()
        if "schemaVersion: 2.1.0" not in spec:
            raise bad("invalid v2 pipeline spec")
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": new_id(),
            "name": name,
            "display_name": display_name or name,
        }
        return put(
            self.versions,
            "pipeline_version_id",
            {**made, "created_at": self.now(), "pipeline_spec": {"bytes": str(len(spec))}},
        )

    def create_run(self, body: Object) -> Object:
        known(body, RUN_FIELDS)
        if not body.get("display_name"):
            raise internal()
        experiment = body.get("experiment_id") or ""
        if experiment not in self.experiments:
            raise missing(f"Experiment {experiment} not found")
        reference = body.get("pipeline_version_reference") or {}
        if self.versions.get(reference.get("pipeline_version_id", ""), {}).get(
            "pipeline_id"
        ) != reference.get("pipeline_id"):
            raise internal()
        if body.get("recurring_run_id"):
            for run in self.runs.values():
                if (run.get("recurring_run_id"), run["display_name"]) == (
                    body["recurring_run_id"],
                    body["display_name"],
                ):
                    return run
        return self._run(body)

    def terminate_run(self, identifier: str) -> Object:
        run = self.found(self.runs, identifier, "Run")
        if run.get("state") not in ("PENDING", "RUNNING", "PAUSED", None):
            raise bad(f"Failed to terminate a run {identifier}. Row not found")
        self.move(identifier, "CANCELING")
        return {}

    def delete_run(self, identifier: str) -> Object:
        self.found(self.runs, identifier, "Run")
        del self.runs[identifier]
        return {}

    def move(self, identifier: str, state: str, tasks: list[Object] | None = None) -> None:
        """What Argo and the persistence agent would do: the run has a new state, and tasks."""
        run = self.runs[identifier]
        run["state"] = state
        run["state_history"] = [*run["state_history"], {"update_time": self.now(), "state": state}]
        if state in ENDED:
            run["finished_at"] = self.now()
        if tasks is not None:
            run["run_details"] = {"task_details": tasks}

    def create_schedule(self, body: Object) -> Object:
        known(body, SCHEDULE_FIELDS)
        if not body.get("display_name"):
            raise internal()
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise bad("The max concurrency of the recurring run must be between 1 and 10")
        experiment = self.experiments.get(body.get("experiment_id", ""))
        if experiment is None:
            raise missing(f"Experiment {body.get('experiment_id')} not found")
        if body.get("namespace", experiment["namespace"]) != experiment["namespace"]:
            raise bad("Experiment does not belong to the namespace")
        trigger = body.get("trigger", {}).get("cron_schedule", {})
        known(trigger, {"cron", "start_time", "end_time"})
        check_cron(trigger.get("cron", ""))
        reference = body.get("pipeline_version_reference") or {}
        if reference.get("pipeline_version_id") not in self.versions:
            raise internal()
        enabled = body.get("mode") == "ENABLE"
        made = {
            **{key: value for key, value in body.items() if value not in (False, "", 0)},
            "recurring_run_id": new_id(),
            "created_at": self.now(),
            "updated_at": self.now(),
            "max_concurrency": str(body["max_concurrency"]),
            "namespace": experiment["namespace"] or "kubeflow",
        }
        self._enabled(made, enabled)
        self.triggered[made["recurring_run_id"]] = (0, None)
        return put(self.schedules, "recurring_run_id", made)

    def enable_schedule(self, identifier: str, enabled: bool) -> Object:
        self._enabled(self.found(self.schedules, identifier, "Job"), enabled)
        return {}

    def delete_schedule(self, identifier: str, policy: str) -> Object:
        self.found(self.schedules, identifier, "Job")
        del self.schedules[identifier]
        for run in self.runs.values():
            if (
                run.get("recurring_run_id") == identifier
                and run["state"] not in ENDED
                and policy != "ORPHAN"
            ):
                self.move(run["run_id"], "FAILED")  # Kubernetes removes what the schedule owns
        return {}

    def tick(self) -> list[Object]:
        """The controller looks once: at most one run per schedule, as in its source."""
        with self.lock:
            return [
                run for schedule in list(self.schedules.values()) if (run := self._due(schedule))
            ]

    def settle(self) -> list[Object]:
        """The controller looks until it has nothing to do."""
        return list(itertools.chain.from_iterable(iter(self.tick, [])))

    def listed(self, key: str, items: list[Object], query: dict[str, str]) -> Object:
        """One page of what fits the filter, in the order asked for."""
        size = int(query.get("page_size") or 0)
        if size < 0:
            raise bad("page_size must not be negative")
        size = min(size or 20, 200)
        found = [item for item in items if fits(item, query.get("filter", ""), FILTERS[key])]
        name, _, order = (query.get("sort_by") or "created_at").partition(" ")
        if name not in FILTERS[key]:
            raise bad(f"Invalid sorting field: {name}")
        ids = {
            "runs": "run_id",
            "recurringRuns": "recurring_run_id",
            "experiments": "experiment_id",
            "pipeline_versions": "pipeline_version_id",
        }
        found.sort(key=lambda item: (str(item.get(name)), item[ids[key]]), reverse=order == "desc")
        start = int(query.get("page_token") or 0)
        page: Object = {key: found[start : start + size], "total_size": len(found)}
        if start + size < len(found):
            page["next_page_token"] = str(start + size)
        return {name: value for name, value in page.items() if value}

    def in_experiment(self, items: dict[str, Object], query: dict[str, str]) -> list[Object]:
        experiment = query.get("experiment_id", "")
        if experiment and experiment not in self.experiments:
            raise missing(f"Experiment {experiment} not found")
        if self.multi_user and not experiment and not query.get("namespace"):
            raise bad("A namespace must be given in multi-user mode")
        return [
            item
            for item in items.values()
            if not experiment or item.get("experiment_id") == experiment
        ]

    @staticmethod
    def found(items: dict[str, Object], identifier: str, kind: str) -> Object:
        if identifier not in items:
            raise missing(f"{kind} {identifier} not found")
        return items[identifier]

    def _namespace(self, given: str) -> str:
        return given if self.multi_user else ""

    def _enabled(self, schedule: Object, enabled: bool) -> None:
        schedule.update(
            status="ENABLED" if enabled else "DISABLED",
            mode="ENABLE" if enabled else "DISABLE",
            updated_at=self.now(),
        )

    def _run(self, body: Object, slot: str | None = None) -> Object:
        created = stamp(self.created) if self.created else self.now()
        return put(self.runs, "run_id", {
            "service_account": "pipeline-runner", **body, "run_id": body.get("run_id") or new_id(), "created_at": created,
            "scheduled_at": slot or created, "finished_at": NEVER, "state": "PENDING", "storage_state": "AVAILABLE",
            "state_history": [{"update_time": created, "state": "PENDING"}],
        })  # fmt: skip

    def _due(self, schedule: Object) -> Object | None:
        identifier, now = schedule["recurring_run_id"], self.clock()
        index, last = self.triggered[identifier]
        active = [
            run
            for run in self.runs.values()
            if run.get("recurring_run_id") == identifier and run["state"] not in ENDED
        ]
        slot = self._next(schedule, last, now)
        if (
            schedule["status"] != "ENABLED"
            or len(active) >= int(schedule["max_concurrency"])
            or slot > now
        ):
            return None
        self.triggered[identifier] = (index + 1, slot)
        copied = (
            "experiment_id",
            "pipeline_version_reference",
            "runtime_config",
            "service_account",
        )
        body = {name: schedule[name] for name in copied if name in schedule}
        name = f"{schedule['display_name'].lower()}x7k2p-{index + 1}-{abs(hash((identifier, index))) % 10**10}"
        return self._run(
            {**body, "display_name": name, "recurring_run_id": identifier}, stamp(slot)
        )

    @staticmethod
    def _next(
        schedule: Object, last: datetime.datetime | None, now: datetime.datetime
    ) -> datetime.datetime:
        cron = schedule["trigger"]["cron_schedule"]
        start = parsed(cron["start_time"]) if "start_time" in cron else None
        base = last or start or parsed(schedule["created_at"])
        slots = CronSim(cron["cron"], max(base, start or base))
        found = next(slots)
        if schedule.get("no_catchup"):
            while (later := next(slots)) <= now:
                found = later
        return found


def check_cron(text: str) -> None:
    """Robfig's cron v1: five or six fields, seconds first; no zone, no L, W or #, Sunday is 0 only."""
    fields = text.split()
    if not 5 <= len(fields) <= 6:
        raise bad(
            f"Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: Expected 5 to 6 fields, found {len(fields)}"
        )
    try:
        CronSim(
            text if len(fields) == 6 else f"{text} *",
            datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        )
    except CronSimError as error:
        raise bad(
            f"Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: {error}"
        ) from None
    if any(sign in text for sign in "L#W") or "7" in fields[-1]:
        raise bad(
            "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: above maximum"
        )


def fits(item: Object, text: str, fields: set[str]) -> bool:
    """Whether the item passes a filter, which the server decodes a second time."""
    try:
        predicates = json.loads(unquote_plus(text)).get("predicates", []) if text else []
    except ValueError as error:
        raise bad(f"failed to parse valid filter from {text!r}: {error}") from None
    for predicate in predicates:
        key, value = predicate["key"], predicate.get("string_value", predicate.get("stringValue"))
        if key not in fields:
            raise bad(f'no support for filtering on unrecognized field "{key}"')
        held = str(item.get(key, ""))
        # MySQL compares without regard to case.
        if predicate["operation"] == "EQUALS" and held.lower() != str(value).lower():
            return False
        if predicate["operation"] == "IS_SUBSTRING" and str(value).lower() not in held.lower():
            return False
    return True


def known(body: Object, fields: set[str]) -> None:
    if strange := sorted(body.keys() - fields):
        raise bad(f'unknown field "{strange[0]}"')


def put(items: dict[str, Object], key: str, item: Object) -> Object:
    if item[key] in items:
        raise internal()
    items[item[key]] = {name: value for name, value in item.items() if value not in (None, "")} | {
        "namespace": item.get("namespace", "")
    }
    return items[item[key]]


def new_id() -> str:
    return str(uuid.uuid4())


def stamp(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
