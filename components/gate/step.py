"""A candidate passes when it reaches `min_accuracy` and is not worse than the released champion on the same test rows.

The champion is pulled and scored again on these very rows, so that a change of the test data favours neither; where it came
from the candidate's own checkpoint, the report has its score. Equal is allowed. Everything that leaves a doubt closes the gate: a report that is damaged or unfinished, a figure that is missing
or not finite, test rows of one class only, a champion that cannot be loaded or knows other classes. What is decided
depends on the model store, so a decision is never reused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts import release
from components.artifacts.artifact import Artifact
from components.artifacts.gate_decision import GateDecision, write_decision
from components.artifacts.predictions import read_predictions
from components.artifacts.report import ReportContent, open_report
from components.artifacts.token_shards import SplitReader, TokenShards, open_shards
from components.config.schema import EvaluateConfig, ExportConfig
from components.errors import DataError
from components.progress import StepName
from components.storage.store import Store, open_store


def run(
    config: EvaluateConfig, export: ExportConfig, shards: Path, report: Path, output: Path
) -> GateDecision:
    """Decide about the report's checkpoint and write the decision to the JSON file `output`.

    Raises DataError for damaged shards and for a report on other shards, ConfigError or StoreError if the model store
    cannot be reached: those say nothing about the candidate.
    """
    progress.report(StepName.GATE, "reading the report")
    opened = open_shards(shards)
    store = open_store(export.model_store)
    decision = _decide(config, export.model_name, opened, report, store)
    write_decision(output, decision)
    progress.report(StepName.GATE, decision.reason)
    return decision


def _decide(
    config: EvaluateConfig, name: str, shards: TokenShards, report: Path, store: Store
) -> GateDecision:
    closed = GateDecision(passed=False, reason="", min_accuracy=config.min_accuracy)
    try:
        opened = open_report(report)
        correct = _correct_rows(opened)
    except DataError as error:
        return closed.model_copy(update={"reason": f"Closed: the report cannot be used. {error}"})
    content = opened.content
    if content.shards_digest != shards.digest:
        raise DataError(
            f"{report}: is about other data than {shards.directory}; evaluate on these shards first"
        )
    known = {
        "accuracy": content.accuracy,
        "test_rows": content.test_rows,
        "report_digest": opened.digest,
        "checkpoint_digest": content.checkpoint_digest,
    }
    closed = closed.model_copy(update=known)
    figure = f"accuracy {content.accuracy:.4f} ({correct} of {content.test_rows} test rows)"
    if content.one_class:
        return closed.model_copy(
            update={
                "reason": f"Closed: all test rows are of one class, so {figure} proves nothing."
            }
        )
    if content.accuracy < config.min_accuracy:
        return closed.model_copy(
            update={"reason": f"Closed: {figure} is below min_accuracy {config.min_accuracy:.4f}."}
        )
    version = release.find_champion(store, name)
    reached = f"{figure} reaches min_accuracy {config.min_accuracy:.4f}"
    if version is None:
        return closed.model_copy(
            update={
                "passed": True,
                "reason": f"Passed: {reached}; no version of {name} is released yet.",
            }
        )
    closed = closed.model_copy(update={"champion_version": version})
    try:
        champion = _champion_correct(
            config, name, version, shards, store, {content.checkpoint_digest: correct}
        )
    except DataError as error:
        return closed.model_copy(
            update={
                "reason": f"Closed: the released version {version} cannot be compared with. {error}"
            }
        )
    against = f"the {champion / content.test_rows:.4f} ({champion} rows) of the released version {version} on the same rows"
    verdict = {"champion_accuracy": champion / content.test_rows}
    if correct < champion:
        return closed.model_copy(
            update={**verdict, "reason": f"Closed: {figure} is worse than {against}."}
        )
    relation = "equals" if correct == champion else "is better than"
    return closed.model_copy(
        update={**verdict, "passed": True, "reason": f"Passed: {reached} and {relation} {against}."}
    )


def _correct_rows(report: Artifact[ReportContent]) -> int:
    """Correct test rows, counted from the predictions; DataError if they do not bear the report's accuracy out."""
    content = report.content
    predictions = read_predictions(report.directory)
    if not np.isfinite(predictions.scores).all():
        raise DataError(f"{report.directory}: holds scores that are not finite numbers")
    correct = int((predictions.predicted == predictions.labels).sum())
    if (
        len(predictions) != content.test_rows
        or abs(correct / content.test_rows - content.accuracy) > 1e-9
    ):
        raise DataError(
            f"{report.directory}: its accuracy {content.accuracy} is not that of its predictions ({correct} of {len(predictions)})"
        )
    return correct


def _champion_correct(
    config: EvaluateConfig,
    name: str,
    version: int,
    shards: TokenShards,
    store: Store,
    known: Mapping[str, int],
) -> int:
    """Test rows that the released version classifies correctly. Raises DataError if it is damaged or knows other classes.

    `known` has the number for checkpoints (by digest) that were scored on these rows already. Classes are compared by name, so their order may differ. A model for other classes is another model: it needs a name
    of its own, because those who call the server rely on the classes of this one.
    """
    with tempfile.TemporaryDirectory(prefix="kubert-champion-") as directory:
        local = Path(directory) / str(version)
        sealed = release.pull_version(store, name, version, local)
        theirs, ours = (
            release.parse_release_content(sealed, store.uri(name)).classes,
            shards.content.classes,
        )
        if set(theirs) != set(ours):
            raise DataError(
                f"It knows the classes {', '.join(theirs)}, the candidate {', '.join(ours)}; release the candidate under another export.model_name."
            )
        if (checkpoint := sealed.inputs.get("checkpoint", "")) in known:
            return known[checkpoint]
        split = shards.open_split("test")
        predicted = _predict(local, split, config.batch_size, version)
    as_ours = np.array([ours.index(label) for label in theirs])
    return int((as_ours[predicted] == split.read_labels()).sum())


def _predict(
    directory: Path, split: SplitReader, batch_size: int, version: int
) -> npt.NDArray[np.intp]:
    # TensorFlow is loaded here because most gates need none: without a champion, or below the minimum.
    from components.model.serving_model import load_scorer

    texts = split.read_texts(np.arange(len(split)))
    message = f"scoring the released version {version} on the same rows"
    scores = load_scorer(directory)(
        texts,
        batch_size,
        lambda done, total: progress.report(StepName.GATE, message, done=done, total=total),
    )
    if not np.isfinite(scores).all():
        raise DataError("It gives scores that are not finite numbers.")
    predicted: npt.NDArray[np.intp] = scores.argmax(axis=1)
    return predicted
