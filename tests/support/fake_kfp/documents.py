"""Documents of the fake server: fields, filters, times, and the errors of the API."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any
from urllib.parse import unquote_plus

from cronsim import CronSim, CronSimError

Object = dict[str, Any]
NEVER = "1970-01-01T00:00:00Z"
CRON_ERROR = (
    "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error:"
)
RUN_FIELDS = {
    "experiment_id",
    "run_id",
    "display_name",
    "description",
    "pipeline_version_id",
    "pipeline_spec",
    "pipeline_version_reference",
    "runtime_config",
    "service_account",
    "scheduled_at",
    "recurring_run_id",
}
SCHEDULE_FIELDS = {
    "display_name",
    "description",
    "pipeline_spec",
    "pipeline_version_reference",
    "runtime_config",
    "service_account",
    "max_concurrency",
    "trigger",
    "mode",
    "no_catchup",
    "namespace",
    "experiment_id",
}
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


class ApiError(Exception):
    """An error as the server answers it."""

    def __init__(self, status: int, text: str, code: int) -> None:
        super().__init__(text)
        self.status = status
        self.body = {
            "code": code,
            "message": f"Failed: {text}",
            "details": [{"@type": "google.rpc.Status", "code": code, "message": text}],
        }


def bad_request(text: str) -> ApiError:
    return ApiError(400, text, 3)


def not_found(text: str) -> ApiError:
    return ApiError(404, text, 5)


def name_conflict(text: str) -> ApiError:
    return ApiError(409, text, 6)


def internal_error() -> ApiError:
    return ApiError(500, "Internal Server Error", 13)


def check_cron(text: str) -> None:
    """Robfig's cron v1: five or six fields, seconds first; no zone, L, W or #; Sunday is 0."""
    fields = text.split()
    if not 5 <= len(fields) <= 6:
        raise bad_request(f"{CRON_ERROR} Expected 5 to 6 fields, found {len(fields)}")
    try:
        CronSim(
            text if len(fields) == 6 else f"{text} *",
            datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        )
    except CronSimError as error:
        raise bad_request(f"{CRON_ERROR} {error}") from None
    if any(sign in text for sign in "L#W") or "7" in fields[-1]:
        raise bad_request(f"{CRON_ERROR} above maximum")


def matches_filter(item: Object, text: str, fields: set[str]) -> bool:
    """Whether the item passes a filter, which the server decodes a second time."""
    try:
        predicates = json.loads(unquote_plus(text)).get("predicates", []) if text else []
    except ValueError as error:
        raise bad_request(f"failed to parse valid filter from {text!r}: {error}") from None
    for predicate in predicates:
        key, value = predicate["key"], predicate.get("string_value", predicate.get("stringValue"))
        if key not in fields:
            raise bad_request(f'no support for filtering on unrecognized field "{key}"')
        stored = str(item.get(key, ""))
        # MySQL compares without regard to case.
        if predicate["operation"] == "EQUALS" and stored.lower() != str(value).lower():
            return False
        if predicate["operation"] == "IS_SUBSTRING" and str(value).lower() not in stored.lower():
            return False
    return True


def check_known_fields(body: Object, fields: set[str]) -> None:
    if strange := sorted(body.keys() - fields):
        raise bad_request(f'unknown field "{strange[0]}"')


def insert_object(items: dict[str, Object], key: str, item: Object) -> Object:
    if item[key] in items:
        raise internal_error()
    items[item[key]] = {name: value for name, value in item.items() if value not in (None, "")} | {
        "namespace": item.get("namespace", "")
    }
    return items[item[key]]


def new_id() -> str:
    return str(uuid.uuid4())


def format_time(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
