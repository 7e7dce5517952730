"""The gate's decision about one report, as a JSON file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from components.artifacts.manifest import added_field
from components.config.task import TaskKind
from components.errors import DataError
from components.storage.atomic_files import atomic_write


class PairedDifference(BaseModel):
    """The candidate's value of a metric minus the champion's, and the 95% interval of that."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    difference: float
    low: float
    high: float


class GateDecision(BaseModel):
    """Whether a checkpoint passed the gate.

    `accuracy`, `majority_share` (of the most frequent class) and `champion_accuracy` are fractions
    of the same `test_rows` rows, None if there is no such metric. `unpredicted_classes` have test
    rows, but no row was given them. `report_digest` and `checkpoint_digest` identify what was
    decided about; they are empty if the report could not be read, in which case the gate is closed.
    `minimum` is `evaluate.minimum`. `failed_rules` are what closed the gate, in the order of the
    reason: `report`, `one_class`, `min_accuracy`, `majority`, `min_macro_f1`, names of `minimum`,
    `unpredicted_classes`, `threshold`, or `champion`; of other tasks than single_label `no_labels`,
    `one_number` and `baseline` instead of `one_class` and `majority`. `champion_differences` are
    those of `accuracy` and `macro_f1`, of several labels `micro_f1` and `subset_accuracy`, of
    numbers `r2` and `rmse`; there are none for a champion of the same checkpoint. `task` is the
    kind of task; other kinds than single_label have `metrics` and `champion_metrics` by name
    instead of `accuracy` and `champion_accuracy`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    passed: bool
    reason: str
    failed_rules: tuple[str, ...] = added_field(())
    min_accuracy: float
    min_macro_f1: float = 0.0
    minimum: dict[str, float] = added_field({})
    accuracy: float | None = None
    majority_share: float | None = None
    macro_f1: float | None = None
    unpredicted_classes: tuple[str, ...] = ()
    champion_version: int | None = None
    champion_accuracy: float | None = None
    champion_margin: float = added_field(0.0)
    champion_rule: str = added_field("difference")
    champion_differences: dict[str, PairedDifference] = added_field({})
    task: TaskKind = added_field("single_label")
    metrics: dict[str, float] = added_field({})
    champion_metrics: dict[str, float] = added_field({})
    test_rows: int = 0
    report_digest: str = ""
    checkpoint_digest: str = ""


def write_decision(path: Path, decision: GateDecision) -> None:
    """Write the file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, decision.model_dump_json(indent=2) + "\n")


def read_decision(path: Path) -> GateDecision:
    """The decision; DataError if there is none or it is damaged."""
    try:
        return GateDecision.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; run the gate first") from None
    except ValidationError as error:
        raise DataError(
            f"{path}: not a gate's decision ({error.error_count()} errors); run the gate again"
        ) from None
