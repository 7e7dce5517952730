"""What Kubeflow Pipelines says of runs and schedules, as plain frozen records: times are aware, what was never set is None."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TERMINAL_STATES = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


@dataclass(frozen=True)
class ServerHealth:
    """The server's version, as it says it, and whether it tells users apart."""

    version: str
    multi_user: bool


@dataclass(frozen=True)
class Task:
    """One task of a run, or one of the parts that the server runs for it (drivers)."""

    name: str
    state: str
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    error: str = ""


@dataclass(frozen=True)
class Run:
    """One run. `slot` is the time it was scheduled for, `schedule` the id of its schedule if it has one."""

    id: str
    name: str
    description: str
    state: str
    created_at: datetime.datetime
    scheduled_time: datetime.datetime | None
    finished_at: datetime.datetime | None
    experiment_id: str
    schedule_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    state_history: tuple[str, ...] = ()
    error: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the run has come to its end, whichever."""
        return self.state in TERMINAL_STATES

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked the run to stop: the server shows it as failed in the end."""
        return self.state in ("CANCELING", "CANCELED") or "CANCELING" in self.state_history


@dataclass(frozen=True)
class Schedule:
    """One recurring run. `start` is the time after which its first slot lies; without it, that is its creation."""

    id: str
    name: str
    description: str
    enabled: bool
    cron: str
    created_at: datetime.datetime
    start_time: datetime.datetime | None
    max_concurrent_runs: int
    catch_up: bool
    pipeline_id: str
    version_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline_root: str = ""
    service_account: str = ""


def parse_run(found: Any) -> Run:
    """From the generated model."""
    details = (found.run_details.task_details if found.run_details else None) or []
    return Run(
        id=str(found.run_id),
        name=found.display_name or "",
        description=found.description or "",
        state=str(
            found.state or "PENDING"
        ),  # absent until the workflow's controller has looked at it
        created_at=found.created_at,
        scheduled_time=_time_or_none(found.scheduled_at),
        finished_at=_time_or_none(found.finished_at),
        experiment_id=found.experiment_id or "",
        schedule_id=found.recurring_run_id or "",
        parameters=(found.runtime_config.parameters if found.runtime_config else None) or {},
        tasks=tuple(map(_parse_task, details)),
        state_history=tuple(
            str(status.state) for status in found.state_history or [] if status.state
        ),
        error=(found.error.message if found.error else None) or "",
    )


def parse_schedule(found: Any) -> Schedule:
    """From the generated model."""
    cron = found.trigger.cron_schedule if found.trigger else None
    source, settings = found.pipeline_version_reference, found.runtime_config
    return Schedule(
        id=str(found.recurring_run_id),
        name=found.display_name or "",
        description=found.description or "",
        enabled=str(found.status) == "ENABLED",
        cron=(cron.cron if cron else None) or "",
        created_at=found.created_at,
        start_time=_time_or_none(cron.start_time) if cron else None,
        max_concurrent_runs=int(found.max_concurrency or 1),
        catch_up=not found.no_catchup,
        pipeline_id=(source.pipeline_id if source else None) or "",
        version_id=(source.pipeline_version_id if source else None) or "",
        parameters=(settings.parameters if settings else None) or {},
        pipeline_root=(settings.pipeline_root if settings else None) or "",
        service_account=found.service_account or "",
    )


def _parse_task(found: Any) -> Task:
    return Task(
        name=found.display_name or "",
        state=str(found.state or "UNKNOWN"),
        started_at=_time_or_none(found.start_time),
        finished_at=_time_or_none(found.end_time),
        error=(found.error.message if found.error else None) or "",
    )


def _time_or_none(when: datetime.datetime | None) -> datetime.datetime | None:
    """The server writes 1970 for a time that was never set."""
    return when if when is not None and when.timestamp() > 0 else None
