"""Makes the schedule on the server the one in the configuration, without losing or repeating a run.

A recurring run cannot be changed. `apply_schedule` looks, takes one action and looks again until
nothing is left to do. Whatever an earlier call left half done, or another call does meanwhile, is
only another state to go on from:

1. a schedule with other content is paused, at a moment that is clear of its scheduled times;
2. the new one is created, paused; its first time is the first that the old one did not run;
3. every other one is deleted (runs in progress continue);
4. the new one is enabled. Until then at most one of all was enabled.

If nothing changed, nothing is done.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components import __version__
from components.errors import ConfigError, KubertError, UsageError
from pipeline.kubeflow import submit
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.cron import Cron, parse_cron, parse_server_cron
from pipeline.kubeflow.deduplication import RunMarker, SubmittedRun, create_deduplicated
from pipeline.kubeflow.errors import AmbiguousOutcomeError, NotFoundError, RateLimitedError
from pipeline.kubeflow.records import Run, Schedule, ServerHealth
from pipeline.kubeflow.submission import Submission

MAX_ACTIONS = 40
MAX_CREATE_FAILURES = 3
MIN_LEAD_TIME = datetime.timedelta(seconds=10)
"""A schedule is not changed this shortly before a scheduled time."""
MAX_START_DELAY = datetime.timedelta(seconds=45)
"""The controller looks every 30 seconds, and the run it starts is reported some seconds later."""
MAX_WAIT = datetime.timedelta(seconds=120)
"""How long a change waits altogether for a moment that is clear of scheduled times."""
WAIT_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 15.0
RECENT_RUNS = 20
"""Runs among which the latest scheduled one is looked for."""
MIN_SERVER_VERSION = (2, 17)
"""The first version that passes a run the time it was scheduled for."""
_MARKER_PATTERN = re.compile(r"\[kubert schedule content=([0-9a-f]+) zone=(\S+) server=(\S+)\]$")
ReportAction = Callable[[str], None]


class ScheduleConflictError(KubertError):
    """The schedule kept changing while it was applied."""


@dataclass(frozen=True)
class DesiredSchedule:
    """The schedule as configured; `body` is the recurring run without start, mode and marker."""

    name: str
    cron: Cron
    enabled: bool
    content: str
    marker: str
    body: dict[str, Any]


@dataclass(frozen=True)
class AppliedSchedule:
    """The schedule as it is now, and the actions that made it so (none: it was so before)."""

    schedule: Schedule
    actions: tuple[str, ...]


def desired_schedule(submission: Submission) -> DesiredSchedule:
    """The schedule of a configuration.

    Raises ConfigError if the configuration has none, or has times that the server cannot keep.
    """
    settings, subject = submission.config.schedule, submission.subject
    cron = parse_cron(settings)
    parts = [
        submission.content_digest,
        cron.server_expression,
        settings.max_concurrent_runs,
        settings.catch_up,
    ]
    content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    name = f"{settings.name}{submission.kind.suffix}" if settings.name else subject
    zone, server_zone = cron.zone.key, cron.server_zone.key
    return DesiredSchedule(
        name=name,
        cron=cron,
        enabled=settings.enabled,
        content=content,
        marker=f"[kubert schedule content={content} zone={zone} server={server_zone}]",
        body={
            "display_name": name,
            "description": f"kubert {__version__}: {subject}, '{cron.expression}' in {zone}",
            "runtime_config": submission.runtime_config,
            "service_account": submission.config.cluster.service_account,
            "max_concurrency": str(settings.max_concurrent_runs),
            "no_catchup": not settings.catch_up,
        },
    )


def check_server_version(health: ServerHealth, url: str) -> None:
    """Raise ConfigError for a server that does not pass runs their scheduled time."""
    found = re.match(r"v?(\d+)\.(\d+)", health.version)
    if found and (int(found[1]), int(found[2])) < MIN_SERVER_VERSION:
        raise ConfigError(
            f"{url} is Kubeflow Pipelines {health.version}, which does not pass a run the time it "
            "was scheduled for; schedules need "
            f"{MIN_SERVER_VERSION[0]}.{MIN_SERVER_VERSION[1]} or newer"
        )


def apply_schedule(
    client: KubeflowClient,
    submission: Submission,
    report: ReportAction,
    sleep: Callable[[float], None] = time.sleep,
) -> AppliedSchedule:
    """Reconcile the schedule with the configuration; `report` receives each action beforehand.

    Raises ConfigError where a schedule of this name is not kubert's, ScheduleConflictError if it
    kept changing.
    """
    desired = desired_schedule(submission)
    experiment_id = client.ensure_experiment(client.endpoint.experiment)
    actions: list[str] = []
    failures: list[KubertError] = []
    deadline = client.server_time() + MAX_WAIT

    def record(action: str) -> None:
        actions.append(action)
        report(action)

    for _ in range(MAX_ACTIONS):
        schedules = managed_schedules(client, experiment_id, desired.name)
        same = [one for one in schedules if parse_content_digest(one) == desired.content]
        others = [one for one in schedules if one not in same]
        if (
            (not same or any(old.enabled for old in others))
            and client.server_time() < deadline
            and _is_near_scheduled_time(client, experiment_id, desired, others)
        ):
            if not actions or not actions[-1].startswith("waiting"):
                record("waiting until the run that is due now has started")
            sleep(WAIT_SECONDS)
            continue
        try:
            if enabled := [old for old in others if old.enabled]:
                record(f"pausing {enabled[0].id}, which has other content")
                client.set_schedule_enabled(enabled[0].id, False)
            elif not same:
                start = _choose_start_time(client, experiment_id, desired, others)
                record(f"creating {desired.name}")
                _create_paused(client, experiment_id, submission, desired, start)
            elif extra := [one for one in schedules if one != select_preferred(same)]:
                record(f"deleting {extra[0].id}, which is replaced; its runs continue")
                client.delete_schedule(extra[0].id)
            elif select_preferred(same).enabled != desired.enabled:
                record(f"{'enabling' if desired.enabled else 'pausing'} {desired.name}")
                client.set_schedule_enabled(select_preferred(same).id, desired.enabled)
            else:
                return AppliedSchedule(select_preferred(same), tuple(actions))
        except NotFoundError:
            continue  # another call was quicker
        except (RateLimitedError, AmbiguousOutcomeError) as error:
            failures.append(error)
            if len(failures) > MAX_CREATE_FAILURES:
                raise
            sleep(_choose_failure_wait(error))
    raise ScheduleConflictError(
        f"schedule {desired.name}: it kept changing, as if someone else were changing it too; "
        "see `kubert schedule list` and apply again"
    )


def managed_schedules(client: KubeflowClient, experiment_id: str, name: str) -> list[Schedule]:
    """The schedules of this name, oldest first. Raises ConfigError where one is not kubert's."""
    found = sorted(
        client.list_schedules(experiment_id, display_name=name),
        key=lambda schedule: (schedule.created_at, schedule.id),
    )
    if foreign := [schedule for schedule in found if parse_content_digest(schedule) is None]:
        raise ConfigError(
            f"schedule.name: there is a schedule called {name} already ({foreign[0].id}) that is "
            "not kubert's; choose another name, or delete it"
        )
    return found


def get_schedule(client: KubeflowClient, name: str) -> Schedule:
    """The schedule of this name. Raises UsageError if there is none."""
    experiment_id = client.find_experiment(client.endpoint.experiment)
    found = managed_schedules(client, experiment_id, name) if experiment_id else []
    if not found:
        raise UsageError(
            f"no schedule is called {name} in experiment {client.endpoint.experiment}; "
            "`kubert schedule list` shows all"
        )
    return select_preferred(found)


def select_preferred(schedules: list[Schedule]) -> Schedule:
    """Of several with one content the one to keep; every client selects the same one."""
    return min(
        schedules, key=lambda schedule: (not schedule.enabled, schedule.created_at, schedule.id)
    )


def parse_content_digest(schedule: Schedule) -> str | None:
    """Digest of the content of a schedule that kubert created; None for any other."""
    found = _MARKER_PATTERN.search(schedule.description)
    return found[1] if found else None


def parse_schedule_cron(schedule: Schedule) -> Cron | None:
    """The scheduled times of a schedule that kubert created, in the zone it was configured in."""
    found = _MARKER_PATTERN.search(schedule.description)
    return parse_server_cron(schedule.cron, found[2], found[3]) if found else None


def run_schedule_now(
    client: KubeflowClient,
    schedule: Schedule,
    key: str | None,
    sleep: Callable[[float], None] = time.sleep,
) -> SubmittedRun:
    """A run of the schedule's pipeline now, with data up to now; one key is one run."""
    experiment_id = client.ensure_experiment(client.endpoint.experiment)
    now = f"{client.server_time():%Y%m%d-%H%M%S}"
    name = key or f"{schedule.name}-now-{now}-{secrets.token_hex(3)}"
    root = schedule.pipeline_root
    body = {
        "display_name": name,
        "experiment_id": experiment_id,
        "description": f"kubert {__version__}: schedule {schedule.name}, run by hand",
        "pipeline_version_reference": {
            "pipeline_id": schedule.pipeline_id,
            "pipeline_version_id": schedule.version_id,
        },
        "runtime_config": {
            "parameters": dict(schedule.parameters),
            **({"pipeline_root": root} if root else {}),
        },
        "service_account": schedule.service_account,
    }
    marker = RunMarker(name, parse_content_digest(schedule) or "0", secrets.token_hex(4))
    return create_deduplicated(client, body, marker, shared=key is not None, sleep=sleep)


def list_schedule_runs(
    client: KubeflowClient, experiment_id: str, schedule: Schedule, limit: int | None = None
) -> list[Run]:
    """The runs that the schedule has started, newest first."""
    return client.list_runs(experiment_id, limit=limit, recurring_run_id=schedule.id)


def _create_paused(
    client: KubeflowClient,
    experiment_id: str,
    submission: Submission,
    desired: DesiredSchedule,
    start: datetime.datetime | None,
) -> None:
    pipeline_id, version_id = submit.upload_pipeline(client, submission)
    trigger: dict[str, Any] = {"cron": desired.cron.server_expression}
    if start is not None:
        trigger["start_time"] = start.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    client.create_schedule(
        {
            **desired.body,
            "description": f"{desired.body['description']} {desired.marker}",
            "experiment_id": experiment_id,
            "pipeline_version_reference": {
                "pipeline_id": pipeline_id,
                "pipeline_version_id": version_id,
            },
            "mode": "DISABLE",
            "trigger": {"cron_schedule": trigger},
        }
    )


def _choose_failure_wait(error: RateLimitedError | AmbiguousOutcomeError) -> float:
    if isinstance(error, RateLimitedError):
        return min(error.retry_after_seconds or 1.0, MAX_RETRY_AFTER_SECONDS)
    return 2.0


def _is_near_scheduled_time(
    client: KubeflowClient, experiment_id: str, desired: DesiredSchedule, others: list[Schedule]
) -> bool:
    """Whether a scheduled time is imminent, or has just passed and its run is not visible yet."""
    now = client.server_time()
    enabled = [(old, cron) for old in others if old.enabled and (cron := parse_schedule_cron(old))]
    crons = [desired.cron, *(cron for _, cron in enabled)]
    if any(next(cron.times_after(now)) - now < MIN_LEAD_TIME for cron in crons):
        return True
    for old, cron in enabled:
        due = cron.last_time_until(now)
        if now - due < MAX_START_DELAY and _last_scheduled_time(client, experiment_id, old) < due:
            return True
    return False


def _choose_start_time(
    client: KubeflowClient, experiment_id: str, desired: DesiredSchedule, others: list[Schedule]
) -> datetime.datetime | None:
    """The time after which the new schedule's times count; None: from its creation on."""
    if not others:
        return None
    old, now = others[-1], client.server_time()
    last_run, cron = _last_scheduled_time(client, experiment_id, old), parse_schedule_cron(old)
    if cron is not None and cron.server_expression == desired.cron.server_expression:
        return last_run
    if cron is not None and cron.last_time_until(now) > last_run:
        # A run was due and did not start: the new schedule runs its own latest time instead, at
        # once.
        return desired.cron.last_time_until(now) - datetime.timedelta(seconds=1)
    return now


def _last_scheduled_time(
    client: KubeflowClient, experiment_id: str, old: Schedule
) -> datetime.datetime:
    """The latest time that the schedule has run; before its first run, the time it counts from."""
    runs = list_schedule_runs(client, experiment_id, old, limit=RECENT_RUNS)
    times = [run.scheduled_time for run in runs if run.scheduled_time is not None]
    return max([old.start_time or old.created_at, *times])
