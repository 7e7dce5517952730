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
from pipeline.kubeflow.client import KfpApi
from pipeline.kubeflow.cron import Cron, cron_of, cron_on_server
from pipeline.kubeflow.errors import Busy, Missing, Uncertain
from pipeline.kubeflow.records import Health, Run, Schedule
from pipeline.kubeflow.submission import Submission

STEPS = 40
FAILURES = 3
SOON = datetime.timedelta(seconds=10)
LATE = datetime.timedelta(seconds=45)
"""The controller looks every 30 seconds, and the run it starts is reported some seconds later."""
PATIENCE = datetime.timedelta(seconds=120)
OLDEST = (2, 17)
"""The first version whose runs are told the slot they were scheduled for."""
_MARK = re.compile(r"\[kubert schedule content=([0-9a-f]+) zone=(\S+) server=(\S+)\]$")
Say = Callable[[str], None]


class Unsettled(KubertError):
    """The schedule kept changing while it was worked on."""


@dataclass(frozen=True)
class Wanted:
    """The schedule as configured: `body` is the recurring run without its start, state and mark."""

    name: str
    cron: Cron
    enabled: bool
    content: str
    mark: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Applied:
    """The schedule as it now is, and what was done to make it so (nothing: it was so before)."""

    schedule: Schedule
    done: tuple[str, ...]


def wanted_of(submission: Submission) -> Wanted:
    """The schedule of a configuration; ConfigError for one without, or with times that the server cannot keep."""
    settings, place = submission.config.schedule, submission.config.cluster
    cron = cron_of(settings)
    parts = [submission.digest, cron.server, settings.concurrency, settings.catch_up]
    content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    name = settings.name or submission.config.export.model_name
    return Wanted(
        name=name,
        cron=cron,
        enabled=settings.enabled,
        content=content,
        mark=f"[kubert schedule content={content} zone={cron.zone.key} server={cron.server_zone.key}]",
        body={
            "display_name": name,
            "description": f"kubert {__version__}: {submission.config.export.model_name}, '{cron.text}' in {cron.zone.key}",
            "runtime_config": submission.runtime,
            "service_account": place.service_account,
            "max_concurrency": str(settings.concurrency),
            "no_catchup": not settings.catch_up,
        },
    )


def check_version(health: Health, url: str) -> None:
    """ConfigError for a server that does not tell runs their slot."""
    found = re.match(r"v?(\d+)\.(\d+)", health.version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise ConfigError(
            f"{url} is Kubeflow Pipelines {health.version}, which does not tell a run the slot it was scheduled for; "
            f"schedules need {OLDEST[0]}.{OLDEST[1]} or newer"
        )


def apply(
    api: KfpApi, submission: Submission, say: Say, sleep: Callable[[float], None] = time.sleep
) -> Applied:
    """Reconcile; `say` is told each step. Raises ConfigError where a schedule of this name is not kubert's."""
    wanted = wanted_of(submission)
    experiment = api.create_experiment(api.endpoint.experiment)
    done: list[str] = []
    failed: list[KubertError] = []
    deadline = api.now() + PATIENCE

    def did(text: str) -> None:
        done.append(text)
        say(text)

    for _ in range(STEPS):
        found = ours(api, experiment, wanted.name)
        same = [schedule for schedule in found if content_of(schedule) == wanted.content]
        others = [schedule for schedule in found if content_of(schedule) != wanted.content]
        if (
            (not same or any(old.enabled for old in others))
            and api.now() < deadline
            and _near_a_slot(api, experiment, wanted, others)
        ):
            if not done or not done[-1].startswith("waiting"):
                did("waiting until the slot that is due now has been run")
            sleep(5.0)
            continue
        try:
            if active := [old for old in others if old.enabled]:
                did(f"pausing {active[0].id}, which has other content")
                api.enable_schedule(active[0].id, False)
            elif not same:
                start = _start(api, experiment, wanted, others)
                did(f"creating {wanted.name}")
                _create(api, experiment, submission, wanted, start)
            elif extra := [schedule for schedule in found if schedule != kept_of(same)]:
                did(f"deleting {extra[0].id}, which is replaced; its runs go on")
                api.delete_schedule(extra[0].id)
            elif kept_of(same).enabled != wanted.enabled:
                did(f"{'enabling' if wanted.enabled else 'pausing'} {wanted.name}")
                api.enable_schedule(kept_of(same).id, wanted.enabled)
            else:
                return Applied(kept_of(same), tuple(done))
        except Missing:
            continue  # another apply was quicker
        except (Busy, Uncertain) as error:
            failed.append(error)
            if len(failed) > FAILURES:
                raise
            sleep(min(error.seconds or 1.0, 15.0) if isinstance(error, Busy) else 2.0)
    raise Unsettled(
        f"schedule {wanted.name}: it kept changing, as if someone else were working on it; see `kubert schedule list` and apply again"
    )


def ours(api: KfpApi, experiment: str, name: str) -> list[Schedule]:
    """Schedules of this name, oldest first; ConfigError where one is not kubert's."""
    found = sorted(
        api.schedules(experiment, display_name=name),
        key=lambda schedule: (schedule.created, schedule.id),
    )
    if strange := [schedule for schedule in found if content_of(schedule) is None]:
        raise ConfigError(
            f"schedule.name: a schedule called {name} is there already ({strange[0].id}) and not kubert's; choose another name, or delete it"
        )
    return found


def named(api: KfpApi, name: str) -> Schedule:
    """The schedule of this name; UsageError if there is none."""
    experiment = api.experiment(api.endpoint.experiment)
    found = ours(api, experiment, name) if experiment else []
    if not found:
        raise UsageError(
            f"no schedule is called {name} in experiment {api.endpoint.experiment}; `kubert schedule list` shows those there are"
        )
    return kept_of(found)


def kept_of(found: list[Schedule]) -> Schedule:
    """Of several with one content the one that stays: whoever looks comes to the same answer."""
    return min(found, key=lambda schedule: (not schedule.enabled, schedule.created, schedule.id))


def content_of(schedule: Schedule) -> str | None:
    """Digest of the content of a schedule that kubert made."""
    found = _MARK.search(schedule.description)
    return found[1] if found else None


def slots_of(schedule: Schedule) -> Cron | None:
    """The slots of a schedule that kubert made, in the zone it was written in."""
    found = _MARK.search(schedule.description)
    return cron_on_server(schedule.cron, found[2], found[3]) if found else None


def run_now(
    api: KfpApi, schedule: Schedule, key: str | None, sleep: Callable[[float], None] = time.sleep
) -> submit.Submitted:
    """A run of the schedule's pipeline outside its slots, with data up to now; the same key twice is one run."""
    experiment = api.create_experiment(api.endpoint.experiment)
    name = key or f"{schedule.name}-now-{api.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    body = {
        "display_name": name,
        "experiment_id": experiment,
        "description": f"kubert {__version__}: schedule {schedule.name}, run by hand",
        "pipeline_version_reference": {
            "pipeline_id": schedule.pipeline,
            "pipeline_version_id": schedule.version,
        },
        "runtime_config": {
            "parameters": dict(schedule.parameters),
            **({"pipeline_root": schedule.pipeline_root} if schedule.pipeline_root else {}),
        },
        "service_account": schedule.service_account,
    }
    mark = submit.Mark(name, content_of(schedule) or "0", secrets.token_hex(4))
    return submit.create_once(api, body, mark, shared=key is not None, sleep=sleep)


def runs_of(
    api: KfpApi, experiment: str, schedule: Schedule, limit: int | None = None
) -> list[Run]:
    """The runs that the schedule has started, newest first."""
    return api.runs(experiment, limit=limit, recurring_run_id=schedule.id)


def _create(
    api: KfpApi,
    experiment: str,
    submission: Submission,
    wanted: Wanted,
    start: datetime.datetime | None,
) -> None:
    pipeline, version = submit.upload(api, submission)
    trigger: dict[str, Any] = {"cron": wanted.cron.server}
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


def _near_a_slot(api: KfpApi, experiment: str, wanted: Wanted, others: list[Schedule]) -> bool:
    """Whether a slot comes at any moment, or one of the old schedule has just come and its run is not to be seen yet."""
    now = api.now()
    crons = [wanted.cron, *(cron for old in others if old.enabled and (cron := slots_of(old)))]
    if any(next(cron.after(now)) - now < SOON for cron in crons):
        return True
    for old in others:
        cron = slots_of(old)
        if (
            old.enabled
            and cron
            and now - (due := cron.last(now)) < LATE
            and _reached(api, experiment, old) < due
        ):
            return True
    return False


def _start(
    api: KfpApi, experiment: str, wanted: Wanted, others: list[Schedule]
) -> datetime.datetime | None:
    """The time after which the new schedule's slots are its own; None: from its creation on."""
    if not others:
        return None
    old, now = others[-1], api.now()
    reached, cron = _reached(api, experiment, old), slots_of(old)
    if cron is not None and cron.server == wanted.cron.server:
        return reached
    if cron is not None and cron.last(now) > reached:
        # A slot was due and not run: the new one runs its latest slot at once in its place.
        return wanted.cron.last(now) - datetime.timedelta(seconds=1)
    return now


def _reached(api: KfpApi, experiment: str, old: Schedule) -> datetime.datetime:
    """The latest slot that the schedule has run; before its first, the time from which its slots count."""
    slots = [run.slot for run in runs_of(api, experiment, old, limit=20) if run.slot is not None]
    return max([old.start or old.created, *slots])
