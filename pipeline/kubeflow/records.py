"""Runs and schedules of Kubeflow Pipelines as records; times are aware, None if never set."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

TERMINAL_STATES = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


@dataclass(frozen=True)
class ServerHealth:
    """The server's version, as it names it, and whether it separates users by namespace."""

    version: str
    multi_user: bool


@dataclass(frozen=True)
class Task:
    """One task of a run, or one of the drivers that the server runs for it."""

    name: str
    state: str
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    error: str = ""


@dataclass(frozen=True)
class Run:
    """One run; `schedule_id` is empty for a run that no schedule started.

    `scheduled_time` is the time that the run was scheduled for; without a schedule, its creation.
    """

    id: str
    name: str
    description: str
    state: str
    created_at: datetime.datetime
    scheduled_time: datetime.datetime | None
    finished_at: datetime.datetime | None
    experiment_id: str
    schedule_id: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    state_history: tuple[str, ...] = ()
    error: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a terminal state."""
        return self.state in TERMINAL_STATES

    @property
    def stop_requested(self) -> bool:
        """Whether someone asked the run to stop; the server shows it as failed in the end."""
        return self.state in ("CANCELING", "CANCELED") or "CANCELING" in self.state_history


@dataclass(frozen=True)
class Schedule:
    """One recurring run; its times count from `start_time`, or else from its creation."""

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
    parameters: Mapping[str, object] = field(default_factory=dict)
    pipeline_root: str = ""
    service_account: str = ""


# What is read of the generated models of `kfp_server_api`, which have no types of their own. Each
# attribute is None where the server's JSON lacks it.


class ErrorModel(Protocol):
    """google.rpc.Status."""

    message: str | None


class TaskModel(Protocol):
    """V2beta1PipelineTaskDetail."""

    display_name: str | None
    state: str | None
    start_time: datetime.datetime | None
    end_time: datetime.datetime | None
    error: ErrorModel | None


class RunDetailsModel(Protocol):
    """V2beta1RunDetails."""

    task_details: Sequence[TaskModel] | None


class RuntimeConfigModel(Protocol):
    """V2beta1RuntimeConfig."""

    parameters: Mapping[str, object] | None
    pipeline_root: str | None


class RuntimeStatusModel(Protocol):
    """V2beta1RuntimeStatus."""

    state: str | None


class RunModel(Protocol):
    """V2beta1Run."""

    run_id: str
    display_name: str | None
    description: str | None
    state: str | None
    created_at: datetime.datetime
    scheduled_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    experiment_id: str | None
    recurring_run_id: str | None
    runtime_config: RuntimeConfigModel | None
    run_details: RunDetailsModel | None
    state_history: Sequence[RuntimeStatusModel] | None
    error: ErrorModel | None


class CronScheduleModel(Protocol):
    """V2beta1CronSchedule."""

    cron: str | None
    start_time: datetime.datetime | None


class TriggerModel(Protocol):
    """V2beta1Trigger."""

    cron_schedule: CronScheduleModel | None


class PipelineVersionReferenceModel(Protocol):
    """V2beta1PipelineVersionReference."""

    pipeline_id: str | None
    pipeline_version_id: str | None


class RecurringRunModel(Protocol):
    """V2beta1RecurringRun."""

    recurring_run_id: str
    display_name: str | None
    description: str | None
    status: str | None
    created_at: datetime.datetime
    trigger: TriggerModel | None
    max_concurrency: str | int | None
    no_catchup: bool | None
    pipeline_version_reference: PipelineVersionReferenceModel | None
    runtime_config: RuntimeConfigModel | None
    service_account: str | None


def parse_run(model: RunModel) -> Run:
    """The record of a run that the API returned."""
    details = (model.run_details.task_details if model.run_details else None) or ()
    history = model.state_history or ()
    return Run(
        id=str(model.run_id),
        name=model.display_name or "",
        description=model.description or "",
        # Absent until the workflow's controller has seen the run.
        state=str(model.state or "PENDING"),
        created_at=model.created_at,
        scheduled_time=_time_or_none(model.scheduled_at),
        finished_at=_time_or_none(model.finished_at),
        experiment_id=model.experiment_id or "",
        schedule_id=model.recurring_run_id or "",
        parameters=(model.runtime_config.parameters if model.runtime_config else None) or {},
        tasks=tuple(map(_parse_task, details)),
        state_history=tuple(str(status.state) for status in history if status.state),
        error=(model.error.message if model.error else None) or "",
    )


def parse_schedule(model: RecurringRunModel) -> Schedule:
    """The record of a recurring run that the API returned."""
    cron = model.trigger.cron_schedule if model.trigger else None
    reference, settings = model.pipeline_version_reference, model.runtime_config
    return Schedule(
        id=str(model.recurring_run_id),
        name=model.display_name or "",
        description=model.description or "",
        enabled=str(model.status) == "ENABLED",
        cron=(cron.cron if cron else None) or "",
        created_at=model.created_at,
        start_time=_time_or_none(cron.start_time) if cron else None,
        max_concurrent_runs=int(model.max_concurrency or 1),
        catch_up=not model.no_catchup,
        pipeline_id=(reference.pipeline_id if reference else None) or "",
        version_id=(reference.pipeline_version_id if reference else None) or "",
        parameters=(settings.parameters if settings else None) or {},
        pipeline_root=(settings.pipeline_root if settings else None) or "",
        service_account=model.service_account or "",
    )


def _parse_task(model: TaskModel) -> Task:
    return Task(
        name=model.display_name or "",
        state=str(model.state or "UNKNOWN"),
        started_at=_time_or_none(model.start_time),
        finished_at=_time_or_none(model.end_time),
        error=(model.error.message if model.error else None) or "",
    )


def _time_or_none(when: datetime.datetime | None) -> datetime.datetime | None:
    """The server writes 1970 for a time that was never set."""
    return when if when is not None and when.timestamp() > 0 else None
