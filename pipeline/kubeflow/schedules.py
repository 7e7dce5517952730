"""Makes the schedule on the server the one in the configuration: nothing changed, nothing done; changed, no slot is lost and none is run twice.

A recurring run cannot be changed. `apply` looks, takes one step and looks again, until nothing is left to do, so whatever an earlier
call left half done, or another call does meanwhile, is only another state to go on from:

1. what has other content is paused, at a moment that is clear of its slots;
2. the new one is created, paused, its first slot being the first that the old one did not run;
3. everything but it is deleted (runs under way go on);
4. it is enabled. Until then at most one of all was enabled.
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
from pipeline.kubeflow.errors import AmbiguousOutcomeError, NotFoundError, RateLimitedError
from pipeline.kubeflow.records import Run, Schedule, ServerHealth
from pipeline.kubeflow.submission import Submission

MAX_ACTIONS = 40
MAX_CREATE_FAILURES = 3
MIN_LEAD_TIME = datetime.timedelta(seconds=10)
MAX_START_DELAY = datetime.timedelta(seconds=45)
"""The controller looks every 30 seconds, and the run it starts is reported some seconds later."""
MAX_WAIT = datetime.timedelta(seconds=120)
MIN_SERVER_VERSION = (2, 17)
"""The first version whose runs are told the slot they were scheduled for."""
_MARKER_PATTERN = re.compile(r"\[kubert schedule content=([0-9a-f]+) zone=(\S+) server=(\S+)\]$")
ReportAction = Callable[[str], None]


class ScheduleConflictError(KubertError):
    """The schedule kept changing while it was worked on."""


@dataclass(frozen=True)
class DesiredSchedule:
    """The schedule as configured: `body` is the recurring run without its start, state and mark."""

    name: str
    cron: Cron
    enabled: bool
    content: str
    mark: str
    body: dict[str, Any]


@dataclass(frozen=True)
class AppliedSchedule:
    """The schedule as it now is, and what was done to make it so (nothing: it was so before)."""

    schedule: Schedule
    actions: tuple[str, ...]


def desired_schedule(submission: Submission) -> DesiredSchedule:
    """The schedule of a configuration; ConfigError for one without, or with times that the server cannot keep."""
    settings, place = submission.config.schedule, submission.config.cluster
    cron = parse_cron(settings)
    parts = [
        submission.digest,
        cron.server_expression,
        settings.max_concurrent_runs,
        settings.catch_up,
    ]
    content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    name = settings.name or submission.config.export.model_name
    return DesiredSchedule(
        name=name,
        cron=cron,
        enabled=settings.enabled,
        content=content,
        mark=f"[kubert schedule content={content} zone={cron.zone.key} server={cron.server_zone.key}]",
        body={
            "display_name": name,
            "description": f"kubert {__version__}: {submission.config.export.model_name}, '{cron.expression}' in {cron.zone.key}",
            "runtime_config": submission.runtime_config,
            "service_account": place.service_account,
            "max_concurrency": str(settings.max_concurrent_runs),
            "no_catchup": not settings.catch_up,
        },
    )


def check_server_version(health: ServerHealth, url: str) -> None:
    """ConfigError for a server that does not tell runs their slot."""
    found = re.match(r"v?(\d+)\.(\d+)", health.version)
    if found and (int(found[1]), int(found[2])) < MIN_SERVER_VERSION:
        raise ConfigError(
            f"{url} is Kubeflow Pipelines {health.version}, which does not tell a run the slot it was scheduled for; "
            f"schedules need {MIN_SERVER_VERSION[0]}.{MIN_SERVER_VERSION[1]} or newer"
        )


def apply_schedule(
    api: KubeflowClient,
    submission: Submission,
    say: ReportAction,
    sleep: Callable[[float], None] = time.sleep,
) -> AppliedSchedule:
    """Reconcile; `say` is told each step. Raises ConfigError where a schedule of this name is not kubert's."""
    wanted = desired_schedule(submission)
    experiment = api.ensure_experiment(api.endpoint.experiment)
    done: list[str] = []
    failed: list[KubertError] = []
    deadline = api.server_time() + MAX_WAIT

    def did(text: str) -> None:
        done.append(text)
        say(text)

    for _ in range(MAX_ACTIONS):
        found = managed_schedules(api, experiment, wanted.name)
        same = [schedule for schedule in found if parse_content_digest(schedule) == wanted.content]
        others = [
            schedule for schedule in found if parse_content_digest(schedule) != wanted.content
        ]
        if (
            (not same or any(old.enabled for old in others))
            and api.server_time() < deadline
            and _is_near_scheduled_time(api, experiment, wanted, others)
        ):
            if not done or not done[-1].startswith("waiting"):
                did("waiting until the slot that is due now has been run")
            sleep(5.0)
            continue
        try:
            if active := [old for old in others if old.enabled]:
                did(f"pausing {active[0].id}, which has other content")
                api.set_schedule_enabled(active[0].id, False)
            elif not same:
                start = _choose_start_time(api, experiment, wanted, others)
                did(f"creating {wanted.name}")
                _create_paused(api, experiment, submission, wanted, start)
            elif extra := [schedule for schedule in found if schedule != select_preferred(same)]:
                did(f"deleting {extra[0].id}, which is replaced; its runs go on")
                api.delete_schedule(extra[0].id)
            elif select_preferred(same).enabled != wanted.enabled:
                did(f"{'enabling' if wanted.enabled else 'pausing'} {wanted.name}")
                api.set_schedule_enabled(select_preferred(same).id, wanted.enabled)
            else:
                return AppliedSchedule(select_preferred(same), tuple(done))
        except NotFoundError:
            continue  # another apply was quicker
        except (RateLimitedError, AmbiguousOutcomeError) as error:
            failed.append(error)
            if len(failed) > MAX_CREATE_FAILURES:
                raise
            sleep(
                min(error.retry_after_seconds or 1.0, 15.0)
                if isinstance(error, RateLimitedError)
                else 2.0
            )
    raise ScheduleConflictError(
        f"schedule {wanted.name}: it kept changing, as if someone else were working on it; see `kubert schedule list` and apply again"
    )


def managed_schedules(api: KubeflowClient, experiment: str, name: str) -> list[Schedule]:
    """Schedules of this name, oldest first; ConfigError where one is not kubert's."""
    found = sorted(
        api.list_schedules(experiment, display_name=name),
        key=lambda schedule: (schedule.created_at, schedule.id),
    )
    if strange := [schedule for schedule in found if parse_content_digest(schedule) is None]:
        raise ConfigError(
            f"schedule.name: a schedule called {name} is there already ({strange[0].id}) and not kubert's; choose another name, or delete it"
        )
    return found


def get_schedule(api: KubeflowClient, name: str) -> Schedule:
    """The schedule of this name; UsageError if there is none."""
    experiment = api.find_experiment(api.endpoint.experiment)
    found = managed_schedules(api, experiment, name) if experiment else []
    if not found:
        raise UsageError(
            f"no schedule is called {name} in experiment {api.endpoint.experiment}; `kubert schedule list` shows those there are"
        )
    return select_preferred(found)


def select_preferred(found: list[Schedule]) -> Schedule:
    """Of several with one content the one that stays: whoever looks comes to the same answer."""
    return min(found, key=lambda schedule: (not schedule.enabled, schedule.created_at, schedule.id))


def parse_content_digest(schedule: Schedule) -> str | None:
    """Digest of the content of a schedule that kubert made."""
    found = _MARKER_PATTERN.search(schedule.description)
    return found[1] if found else None


def parse_schedule_cron(schedule: Schedule) -> Cron | None:
    """The slots of a schedule that kubert made, in the zone it was written in."""
    found = _MARKER_PATTERN.search(schedule.description)
    return parse_server_cron(schedule.cron, found[2], found[3]) if found else None


def run_schedule_now(
    api: KubeflowClient,
    schedule: Schedule,
    key: str | None,
    sleep: Callable[[float], None] = time.sleep,
) -> submit.SubmittedRun:
    """A run of the schedule's pipeline outside its slots, with data up to now; the same key twice is one run."""
    experiment = api.ensure_experiment(api.endpoint.experiment)
    name = key or f"{schedule.name}-now-{api.server_time():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    body = {
        "display_name": name,
        "experiment_id": experiment,
        "description": f"kubert {__version__}: schedule {schedule.name}, run by hand",
        "pipeline_version_reference": {
            "pipeline_id": schedule.pipeline_id,
            "pipeline_version_id": schedule.version_id,
        },
        "runtime_config": {
            "parameters": dict(schedule.parameters),
            **({"pipeline_root": schedule.pipeline_root} if schedule.pipeline_root else {}),
        },
        "service_account": schedule.service_account,
    }
    mark = submit.RunMarker(name, parse_content_digest(schedule) or "0", secrets.token_hex(4))
    return submit.create_deduplicated(api, body, mark, shared=key is not None, sleep=sleep)


def list_schedule_runs(
    api: KubeflowClient, experiment: str, schedule: Schedule, limit: int | None = None
) -> list[Run]:
    """The runs that the schedule has started, newest first."""
    return api.list_runs(experiment, limit=limit, recurring_run_id=schedule.id)


def _create_paused(
    api: KubeflowClient,
    experiment: str,
    submission: Submission,
    wanted: DesiredSchedule,
    start: datetime.datetime | None,
) -> None:
    pipeline, version = submit.upload_pipeline(api, submission)
    trigger: dict[str, Any] = {"cron": wanted.cron.server_expression}
    if start is not None:
        trigger["start_time"] = start.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    api.create_schedule(
        {
            **wanted.body,
            "description": f"{wanted.body['description']} {wanted.mark}",
            "experiment_id": experiment,
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "mode": "DISABLE",
            "trigger": {"cron_schedule": trigger},
        }
    )


def _is_near_scheduled_time(
    api: KubeflowClient, experiment: str, wanted: DesiredSchedule, others: list[Schedule]
) -> bool:
    """Whether a slot comes at any moment, or one of the old schedule has just come and its run is not to be seen yet."""
    now = api.server_time()
    crons = [
        wanted.cron,
        *(cron for old in others if old.enabled and (cron := parse_schedule_cron(old))),
    ]
    if any(next(cron.times_after(now)) - now < MIN_LEAD_TIME for cron in crons):
        return True
    for old in others:
        cron = parse_schedule_cron(old)
        if (
            old.enabled
            and cron
            and now - (due := cron.last_time_until(now)) < MAX_START_DELAY
            and _last_scheduled_time(api, experiment, old) < due
        ):
            return True
    return False


def _choose_start_time(
    api: KubeflowClient, experiment: str, wanted: DesiredSchedule, others: list[Schedule]
) -> datetime.datetime | None:
    """The time after which the new schedule's slots are its own; None: from its creation on."""
    if not others:
        return None
    old, now = others[-1], api.server_time()
    reached, cron = _last_scheduled_time(api, experiment, old), parse_schedule_cron(old)
    if cron is not None and cron.server_expression == wanted.cron.server_expression:
        return reached
    if cron is not None and cron.last_time_until(now) > reached:
        # A slot was due and not run: the new one runs its latest slot at once in its place.
        return wanted.cron.last_time_until(now) - datetime.timedelta(seconds=1)
    return now


def _last_scheduled_time(api: KubeflowClient, experiment: str, old: Schedule) -> datetime.datetime:
    """The latest slot that the schedule has run; before its first, the time from which its slots count."""
    slots = [
        run.scheduled_time
        for run in list_schedule_runs(api, experiment, old, limit=20)
        if run.scheduled_time is not None
    ]
    return max([old.start_time or old.created_at, *slots])
