"""Runs the pipeline on this machine."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from components.errors import UsageError
from pipeline.api.arguments import read_integer
from pipeline.api.display import ShowEvent, create_view, format_path, format_table
from pipeline.api.releases import Release, load_release
from pipeline.api.settings import ConfigSource, Options, load_settings
from pipeline.cross_validation.options import MIN_FOLDS, refuse_parallel_without_folds

if TYPE_CHECKING:
    from components.config.schema import Config


@dataclass(frozen=True)
class Report:
    """The report of an evaluation: a page that a notebook shows inline."""

    path: Path

    def __repr__(self) -> str:
        return f"<Report {format_path(self.path)}>"

    def _repr_html_(self) -> str:
        from components.artifacts.report import read_framed_page

        page = html.escape(read_framed_page(self.path.parent))
        return (
            '<iframe title="Evaluation report" sandbox style="width: 100%; height: 600px; '
            f'border: 1px solid #ccc" srcdoc="{page}"></iframe>'
        )


MAIN_METRICS = (("accuracy", "accuracy"), ("micro-F1", "micro_f1"), ("RMSE", "rmse"))
"""Titles and names of the metrics that models are judged by, one per kind of task."""
BASELINES = {
    "most frequent class": "majority_share",
    "always the same labels": "baseline_micro_f1",
    "always the mean": "baseline_rmse",
}
"""Figures of models that do not read the texts, by what they answer."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that came to its end; the gate may have refused the model.

    figures: what `kubert run --json` prints, such as accuracy, macro_f1, gate and step_seconds.
    """

    figures: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        """Share of the test rows that were given the right class.

        UsageError for models of another `task.kind`, which have none: see `figures`.
        """
        if "accuracy" not in self.figures:
            title, name = self._main_metric
            raise UsageError(
                f"accuracy: a model of task.kind={self.figures['task']} has none; use its {title}, "
                f"figures[{name!r}]"
            )
        return float(self.figures["accuracy"])

    @property
    def is_released(self) -> bool:
        """Whether the gate admitted the model, so that it was released."""
        return bool(self.figures["gate"]["passed"])

    @property
    def reason(self) -> str:
        """Why the gate admitted or refused the model."""
        return str(self.figures["gate"]["reason"])

    @property
    def report(self) -> Report:
        """The report of the evaluation."""
        return Report(Path(self.figures["report"]))

    def load_release(self) -> Release:
        """The released model; DataError with the gate's reason if there is none."""
        from components.errors import DataError

        if not self.figures["release"]:
            raise DataError(f"nothing was released: {self.reason}")
        return load_release(self.figures["release"])

    def __repr__(self) -> str:
        from components.artifacts.release import format_metric

        title, name = self._main_metric
        value = format_metric(self.figures[name])
        return f"<FinishedRun {title} {value}, {self._describe_release()}>"

    def _repr_html_(self) -> str:
        seconds = self.figures["step_seconds"]
        return format_table(
            {
                **self._describe_metric(),
                "gate": self.reason,
                "release": self._describe_release(),
                "seconds": ", ".join(f"{step} {value:.1f}" for step, value in seconds.items()),
                "report": format_path(self.figures["report"]),
            }
        )

    @property
    def _main_metric(self) -> tuple[str, str]:
        """Title and name of the metric of the kind of task."""
        return next(each for each in MAIN_METRICS if each[1] in self.figures)

    def _describe_metric(self) -> dict[str, str]:
        """The main metric with its interval, and what it is to be compared with."""
        from components.artifacts.release import format_metric

        title, name = self._main_metric
        value, rows = self.figures[name], f"{self.figures['test_rows']:,} test rows"
        low, high = (self.figures.get(f"{name}{end}") for end in ("_low", "_high"))
        interval = (
            ""
            if low is None or high is None
            else f"95% interval {format_metric(low)} to {format_metric(high)}, "
        )
        described = {title: f"{format_metric(value)} ({interval}{rows})"}
        for words, baseline in BASELINES.items():
            if baseline in self.figures:
                described[words] = format_metric(self.figures[baseline])
        return described

    def _describe_release(self) -> str:
        release = self.figures["release"]
        return format_path(release) if release else "nothing released"


@dataclass(frozen=True)
class FinishedCrossValidation:
    """A cross-validation that came to its end; nothing was released.

    figures: what `kubert run --folds K --json` prints: folds, rows, metrics, fold_results and the
    paths of the files.
    """

    figures: Mapping[str, Any]

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float | None]]:
        """Of each metric `mean`, `standard_deviation`, and `low` and `high` of its 95% interval."""
        metrics: Mapping[str, Mapping[str, float | None]] = self.figures["metrics"]
        return metrics

    @property
    def report(self) -> Report:
        """The report on all folds."""
        return Report(Path(self.figures["report"]))

    @property
    def predictions(self) -> Path:
        """The Parquet file with each row once, as the model that was not trained on it scores it.

        Columns: fold, row, label, label_score, predicted, confidence, scores, text. With several
        labels per text label, predicted and scores are lists, and wrong names the label that the
        model contradicts with most confidence; of numbers error is predicted minus actual.
        """
        return Path(self.figures["predictions"])

    def __repr__(self) -> str:
        return f"<FinishedCrossValidation {self.figures['folds']} folds, {self._describe_main()}>"

    def _repr_html_(self) -> str:
        rows = {name: self._describe(name) for name in self.metrics}
        return format_table(
            {"folds": self.figures["folds"], "rows": f"{self.figures['rows']:,}", **rows}
        )

    def _describe_main(self) -> str:
        name = next(iter(self.metrics))
        return f"{name} {self._describe(name)}"

    def _describe(self, name: str) -> str:
        from components.artifacts.cross_validation import MetricSummary, describe_metric

        return describe_metric(name, MetricSummary.model_validate(self.metrics[name]))


@overload
def run(
    config: ConfigSource = "quickstart",
    options: Options | None = None,
    *,
    workdir: str | Path = ".kubert",
    folds: None = None,
    show: ShowEvent | None = None,
) -> FinishedRun: ...


@overload
def run(
    config: ConfigSource = "quickstart",
    options: Options | None = None,
    *,
    workdir: str | Path = ".kubert",
    folds: int,
    parallel: int | None = None,
    show: ShowEvent | None = None,
) -> FinishedCrossValidation: ...


def run(
    config: ConfigSource = "quickstart",
    options: Options | None = None,
    *,
    workdir: str | Path = ".kubert",
    folds: int | None = None,
    parallel: int | None = None,
    show: ShowEvent | None = None,
) -> FinishedRun | FinishedCrossValidation:
    """Run the whole pipeline on this machine, as `kubert run` does.

    Args:
        config: a shipped configuration's name, a YAML file, or a `Config`.
        options: options that are changed, such as {"train.epochs": 2}.
        workdir: directory of runs, reusable step results and released models.
        folds: cross-validate instead: train so many models, each without one part of the rows,
            which tests it; nothing is released.
        parallel: how many folds are trained at a time; by default, as many as the machine allows.
        show: receives each progress event; by default, progress is shown in the notebook or the
            terminal.

    Raises ConfigError, DataError or UsageError for what the user can mend, before the first step if
    it can be known there; StepFailedError if a step fails, FoldsFailedError if folds fail;
    RunInterruptedError after an interrupt. A gate that refuses the model is no error: see
    `FinishedRun.is_released`.
    """
    from pipeline.local.whole_run import run_here

    settings = load_settings(config, options)
    if folds is not None:
        return _cross_validate(settings, Path(workdir), folds, parallel, show)
    refuse_parallel_without_folds(folds, parallel)
    with create_view(show) as view:
        summary, _ = run_here(settings, Path(workdir), lambda _run: None, view)
    return FinishedRun(summary.to_dict())


def _cross_validate(
    settings: Config, workdir: Path, folds: int, parallel: int | None, show: ShowEvent | None
) -> FinishedCrossValidation:
    from pipeline.local.fold_runs import cross_validate_here

    folds = read_integer("folds", folds, MIN_FOLDS)
    if parallel is not None:
        parallel = read_integer("parallel", parallel, 1)
    with create_view(show, folds) as view:
        result, _ = cross_validate_here(
            settings, folds, workdir, lambda _run, _parallel: None, view, parallel
        )
    return FinishedCrossValidation(result.to_dict())
