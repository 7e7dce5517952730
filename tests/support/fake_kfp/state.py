"""State of the fake Kubeflow Pipelines server (2.17), after its published v2beta1 API and sources.

Faithful in: paths, names and types of fields, what is absent, status codes and texts of errors,
filters, pages, uniqueness of names (and that runs and schedules have none), how a schedule's times
are found, missed, caught up with and held back by `max_concurrency`, and what deleting a schedule
does to its runs. Not included: anything that Kubernetes or Argo would do. Runs move when a test
says so.
"""

from __future__ import annotations

import datetime
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cronsim import CronSim

from tests.support.fake_kfp.documents import (
    ENDED,
    FILTERS,
    NEVER,
    RUN_FIELDS,
    SCHEDULE_FIELDS,
    Object,
    bad_request,
    check_cron,
    check_known_fields,
    format_time,
    insert_object,
    internal_error,
    matches_filter,
    name_conflict,
    new_id,
    not_found,
    parse_time,
)


@dataclass
class FakeState:
    """The server's objects by id; `clock` is its time."""

    clock: Callable[[], datetime.datetime]
    multi_user: bool = False
    version: str = "2.17.0"
    creation_time: datetime.datetime | None = None
    lock: Any = field(default_factory=threading.RLock)
    experiments: dict[str, Object] = field(default_factory=dict)
    pipelines: dict[str, Object] = field(default_factory=dict)
    versions: dict[str, Object] = field(default_factory=dict)
    runs: dict[str, Object] = field(default_factory=dict)
    schedules: dict[str, Object] = field(default_factory=dict)
    workflows: dict[str, Object] = field(default_factory=dict)
    triggered: dict[str, tuple[int, datetime.datetime | None]] = field(default_factory=dict)

    def formatted_time(self) -> str:
        return format_time(self.clock())

    def get_health(self) -> Object:
        return {
            "commit_sha": "0" * 40,
            "tag_name": self.version,
            "multi_user": self.multi_user,
            "pipeline_store": "database",
        }

    def create_experiment(self, body: Object) -> Object:
        check_known_fields(body, {"display_name", "description", "namespace"})
        name = body.get("display_name", "")
        if not name or len(name) > 128:
            raise internal_error()
        namespace = self._effective_namespace(body.get("namespace", ""))
        if any(
            item["display_name"] == name and item.get("namespace", "") == namespace
            for item in self.experiments.values()
        ):
            raise name_conflict(
                f"Failed to create a new experiment. The name {name} already exists. "
                "Please specify a new name"
            )
        made = {
            **body,
            "experiment_id": new_id(),
            "created_at": self.formatted_time(),
            "namespace": namespace,
            "storage_state": "AVAILABLE",
        }
        return insert_object(
            self.experiments, "experiment_id", {**made, "last_run_created_at": NEVER}
        )

    def create_pipeline(self, body: Object) -> Object:
        check_known_fields(body, {"name", "display_name", "description", "namespace", "tags"})
        name, namespace = (
            body.get("name") or body.get("display_name", ""),
            self._effective_namespace(body.get("namespace", "")),
        )
        if any(
            item["name"] == name and item.get("namespace", "") == namespace
            for item in self.pipelines.values()
        ):
            raise name_conflict("Failed to create a new pipeline. The name already exists")
        made = {
            **body,
            "name": name,
            "namespace": namespace,
            "pipeline_id": new_id(),
            "created_at": self.formatted_time(),
        }
        return insert_object(self.pipelines, "pipeline_id", made)

    def find_pipeline(self, name: str, namespace: str) -> Object:
        namespace = self._effective_namespace(namespace)
        for item in self.pipelines.values():
            if item["name"] == name and item.get("namespace", "") == namespace:
                return item
        raise not_found(f"Namespace/Pipeline {namespace}/{name} not found")

    def upload_version(self, pipeline: str, name: str, display_name: str, package: bytes) -> Object:
        if pipeline not in self.pipelines:
            raise bad_request("Failed to create a pipeline version")
        if any(
            item["pipeline_id"] == pipeline and item["name"] == name
            for item in self.versions.values()
        ):
            raise name_conflict("Failed to create a pipeline version")
        spec = package.decode()
        if "schemaVersion: 2.1.0" not in spec:
            raise bad_request("invalid v2 pipeline spec")
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": new_id(),
            "name": name,
            "display_name": display_name or name,
        }
        return insert_object(
            self.versions,
            "pipeline_version_id",
            {
                **made,
                "created_at": self.formatted_time(),
                "pipeline_spec": {"bytes": str(len(spec))},
            },
        )

    def create_run(self, body: Object) -> Object:
        check_known_fields(body, RUN_FIELDS)
        if not body.get("display_name"):
            raise internal_error()
        experiment = body.get("experiment_id") or ""
        if experiment not in self.experiments:
            raise not_found(f"Experiment {experiment} not found")
        reference = body.get("pipeline_version_reference") or {}
        if self.versions.get(reference.get("pipeline_version_id", ""), {}).get(
            "pipeline_id"
        ) != reference.get("pipeline_id"):
            raise internal_error()
        if body.get("recurring_run_id"):
            for run in self.runs.values():
                if (run.get("recurring_run_id"), run["display_name"]) == (
                    body["recurring_run_id"],
                    body["display_name"],
                ):
                    return run
        return self._insert_run(body)

    def terminate_run(self, identifier: str) -> Object:
        run = self.get_object(self.runs, identifier, "Run")
        if run.get("state") not in ("PENDING", "RUNNING", "PAUSED", None):
            raise bad_request(f"Failed to terminate a run {identifier}. Row not found")
        # Not in `state_history`: there it is only if the run is reported while it is ending.
        run["state"] = "CANCELING"
        self.workflows.setdefault(identifier, {}).setdefault("spec", {})[
            "activeDeadlineSeconds"
        ] = 0
        return {}

    def get_run_detail(self, identifier: str) -> Object:
        """The run as version 1 of the API shows it, with the manifest of its workflow."""
        run = self.get_object(self.runs, identifier, "Run")
        manifest = json.dumps(self.workflows.get(identifier, {}))
        return {
            "run": {"id": identifier, "name": run["display_name"]},
            "pipeline_runtime": {"workflow_manifest": manifest},
        }

    def delete_run(self, identifier: str) -> Object:
        self.get_object(self.runs, identifier, "Run")
        del self.runs[identifier]
        return {}

    def move_run(self, identifier: str, state: str, tasks: list[Object] | None = None) -> None:
        """What Argo and the persistence agent would do: the run has a new state, and tasks."""
        run = self.runs[identifier]
        run["state"] = state
        run["state_history"] = [
            *run["state_history"],
            {"update_time": self.formatted_time(), "state": state},
        ]
        if state in ENDED:
            run["finished_at"] = self.formatted_time()
        if tasks is not None:
            run["run_details"] = {"task_details": tasks}

    def create_schedule(self, body: Object) -> Object:
        check_known_fields(body, SCHEDULE_FIELDS)
        if not body.get("display_name"):
            raise internal_error()
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise bad_request("The max concurrency of the recurring run must be between 1 and 10")
        experiment = self.experiments.get(body.get("experiment_id", ""))
        if experiment is None:
            raise not_found(f"Experiment {body.get('experiment_id')} not found")
        if body.get("namespace", experiment["namespace"]) != experiment["namespace"]:
            raise bad_request("Experiment does not belong to the namespace")
        trigger = body.get("trigger", {}).get("cron_schedule", {})
        check_known_fields(trigger, {"cron", "start_time", "end_time"})
        check_cron(trigger.get("cron", ""))
        reference = body.get("pipeline_version_reference") or {}
        if reference.get("pipeline_version_id") not in self.versions:
            raise internal_error()
        enabled = body.get("mode") == "ENABLE"
        made = {
            **{key: value for key, value in body.items() if value not in (False, "", 0)},
            "recurring_run_id": new_id(),
            "created_at": self.formatted_time(),
            "updated_at": self.formatted_time(),
            "max_concurrency": str(body["max_concurrency"]),
            "namespace": experiment["namespace"] or "kubeflow",
        }
        self._set_enabled(made, enabled)
        self.triggered[made["recurring_run_id"]] = (0, None)
        return insert_object(self.schedules, "recurring_run_id", made)

    def set_schedule_enabled(self, identifier: str, enabled: bool) -> Object:
        self._set_enabled(self.get_object(self.schedules, identifier, "Job"), enabled)
        return {}

    def delete_schedule(self, identifier: str, policy: str) -> Object:
        self.get_object(self.schedules, identifier, "Job")
        del self.schedules[identifier]
        for run in self.runs.values():
            if (
                run.get("recurring_run_id") == identifier
                and run["state"] not in ENDED
                and policy != "ORPHAN"
            ):
                self.move_run(run["run_id"], "FAILED")  # Kubernetes removes what the schedule owns
        return {}

    def start_due_runs(self) -> list[Object]:
        """One look of the controller: at most one run per schedule, as in its source."""
        with self.lock:
            return [
                run
                for schedule in list(self.schedules.values())
                if (run := self._start_due_run(schedule))
            ]

    def start_all_due_runs(self) -> list[Object]:
        """Looks of the controller until nothing is due."""
        return list(itertools.chain.from_iterable(iter(self.start_due_runs, [])))

    def list_page(self, key: str, items: list[Object], query: dict[str, str]) -> Object:
        """One page of what fits the filter, in the order asked for."""
        size = int(query.get("page_size") or 0)
        if size < 0:
            raise bad_request("page_size must not be negative")
        size = min(size or 20, 200)
        found = [
            item for item in items if matches_filter(item, query.get("filter", ""), FILTERS[key])
        ]
        name, _, order = (query.get("sort_by") or "created_at").partition(" ")
        if name not in FILTERS[key]:
            raise bad_request(f"Invalid sorting field: {name}")
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

    def filter_by_experiment(self, items: dict[str, Object], query: dict[str, str]) -> list[Object]:
        experiment = query.get("experiment_id", "")
        if experiment and experiment not in self.experiments:
            raise not_found(f"Experiment {experiment} not found")
        if self.multi_user and not experiment and not query.get("namespace"):
            raise bad_request("A namespace must be given in multi-user mode")
        return [
            item
            for item in items.values()
            if not experiment or item.get("experiment_id") == experiment
        ]

    @staticmethod
    def get_object(items: dict[str, Object], identifier: str, kind: str) -> Object:
        if identifier not in items:
            raise not_found(f"{kind} {identifier} not found")
        return items[identifier]

    def _effective_namespace(self, given: str) -> str:
        return given if self.multi_user else ""

    def _set_enabled(self, schedule: Object, enabled: bool) -> None:
        schedule.update(
            status="ENABLED" if enabled else "DISABLED",
            mode="ENABLE" if enabled else "DISABLE",
            updated_at=self.formatted_time(),
        )

    def _insert_run(self, body: Object, scheduled_time: str | None = None) -> Object:
        created = format_time(self.creation_time) if self.creation_time else self.formatted_time()
        return insert_object(
            self.runs,
            "run_id",
            {
                "service_account": "pipeline-runner",
                **body,
                "run_id": body.get("run_id") or new_id(),
                "created_at": created,
                "scheduled_at": scheduled_time or created,
                "finished_at": NEVER,
                "state": "PENDING",
                "storage_state": "AVAILABLE",
                "state_history": [{"update_time": created, "state": "PENDING"}],
            },
        )

    def _start_due_run(self, schedule: Object) -> Object | None:
        identifier, now = schedule["recurring_run_id"], self.clock()
        index, last = self.triggered[identifier]
        active = [
            run
            for run in self.runs.values()
            if run.get("recurring_run_id") == identifier and run["state"] not in ENDED
        ]
        due = self._next_time(schedule, last, now)
        if (
            schedule["status"] != "ENABLED"
            or len(active) >= int(schedule["max_concurrency"])
            or due > now
        ):
            return None
        self.triggered[identifier] = (index + 1, due)
        copied = (
            "experiment_id",
            "pipeline_version_reference",
            "runtime_config",
            "service_account",
        )
        body = {name: schedule[name] for name in copied if name in schedule}
        suffix = abs(hash((identifier, index))) % 10**10
        name = f"{schedule['display_name'].lower()}x7k2p-{index + 1}-{suffix}"
        return self._insert_run(
            {**body, "display_name": name, "recurring_run_id": identifier}, format_time(due)
        )

    @staticmethod
    def _next_time(
        schedule: Object, last: datetime.datetime | None, now: datetime.datetime
    ) -> datetime.datetime:
        cron = schedule["trigger"]["cron_schedule"]
        start = parse_time(cron["start_time"]) if "start_time" in cron else None
        base = last or start or parse_time(schedule["created_at"])
        times = CronSim(cron["cron"], max(base, start or base))
        found = next(times)
        if schedule.get("no_catchup"):
            while (later := next(times)) <= now:
                found = later
        return found
