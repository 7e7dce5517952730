"""Released models: load one and use it, list them, and pull one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from components.errors import UsageError
from components.progress import ProgressEvent, StepName
from components.registry.opened_release import open_reference
from pipeline.api.arguments import (
    check_single_texts,
    list_texts,
    read_choice,
    read_columns,
    read_integer,
    read_location,
    read_sources,
    read_text,
    read_word,
)
from pipeline.api.display import ShowEvent, create_view, format_table
from pipeline.api.reported_events import forward_events
from pipeline.api.settings import Options, format_assignments, load_data_options

if TYPE_CHECKING:
    from components.artifacts.artifact import Artifact
    from components.artifacts.release import ReleaseContent
    from components.batch_prediction.step import BatchPrediction
    from components.explain.explainer import Explainer
    from components.explain.explanation import Explanation
    from components.serving.predict import AnyPrediction, Predictor

Texts = list[str] | tuple[str, ...] | Iterator[str]
Pairs = list[tuple[str, str]] | Iterator[tuple[str, str]]
"""Pairs of texts, for a model that takes them."""
Layers = int | Iterable[int] | str
Heads = int | Iterable[int] | str
Columns = str | Sequence[str]
Location = str | PathLike[str]
FILE_FORMATS = ("parquet", "csv", "jsonl")


class Release:
    """A verified release, whose model is loaded when it is first used.

    A release from object storage is pulled into a temporary directory, which goes with this object,
    or at the end of a `with` block.
    """

    def __init__(self, reference: str) -> None:
        self._stack, self._reference = ExitStack(), reference
        self._artifact: Artifact[ReleaseContent] = self._stack.enter_context(
            open_reference(reference)
        )

    @property
    def content(self) -> ReleaseContent:
        """What the release's manifest says of the model: name, version, classes, accuracy, ..."""
        return self._artifact.content

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the scores; none of a release that predicts numbers."""
        return self.content.classes

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that names this model and no other."""
        return self._artifact.digest

    @property
    def directory(self) -> Path:
        """The directory with the model, for TensorFlow Serving."""
        return self._artifact.directory

    @overload
    def predict(self, texts: str) -> AnyPrediction: ...

    @overload
    def predict(self, texts: Texts | Pairs) -> list[AnyPrediction]: ...

    def predict(self, texts: str | Texts | Pairs) -> AnyPrediction | list[AnyPrediction]:
        """What is predicted of a text, or of each text, as `kubert predict` gives it.

        By the kind of task (`content.task.kind`) the result has `label` and `scores`
        (single_label), `labels` and `scores` (multi_label), or `value` (regression). A model of
        pairs takes a list of tuples of two texts. UsageError for the other kind.
        """
        if isinstance(texts, str):
            return next(self._predictor.predict([texts]))
        return list(self._predictor.predict(list_texts(texts)))

    @overload
    def explain(
        self,
        texts: str,
        target: str | None = None,
        *,
        steps: int = 32,
        layers: Layers = "last",
        heads: Heads = "mean",
    ) -> Explanation: ...

    @overload
    def explain(
        self,
        texts: Texts,
        target: str | None = None,
        *,
        steps: int = 32,
        layers: Layers = "last",
        heads: Heads = "mean",
    ) -> list[Explanation]: ...

    def explain(
        self,
        texts: str | Texts,
        target: str | None = None,
        *,
        steps: int = 32,
        layers: Layers = "last",
        heads: Heads = "mean",
    ) -> Explanation | list[Explanation]:
        """Why a text, or each text, has its score or its number, as `kubert explain` shows it.

        Args:
            texts: one text, or several.
            target: the class that is explained; by default, the one with the largest score.
            steps: points of the integral, 1 to 10,000; more of them make the gap smaller.
            layers: layers whose attention is wanted, counted from 1: a number, several of them,
                "last", "all", "none" (or []), or numbers as the command takes them: "1,6".
            heads: heads whose attention is wanted, in the same way: numbers, "all" or "mean".

        UsageError for another number of steps, for a class, layer or head that the model does not
        have, and for texts that are no strings.
        """
        from components.explain.options import AttentionChoice, ExplanationOptions

        given = [texts] if isinstance(texts, str) else list_texts(texts)
        check_single_texts(given)
        if target is not None and not isinstance(target, str):
            raise UsageError(f"target={target!r}: give the name of a class")
        chosen = read_choice("layers", layers, ("last", "all", "none"))
        options = ExplanationOptions(
            target,
            read_integer("steps", steps, 1),
            AttentionChoice(
                cast(Any, () if chosen == "none" else chosen),
                cast(Any, read_choice("heads", heads, ("mean", "all"))),
            ),
        )
        explained = list(self._explainer.explain(self._explainer.plan(given, options)))
        return explained[0] if isinstance(texts, str) else explained

    def score(
        self,
        source: Location | Sequence[Location],
        to: Location,
        *,
        text: Columns | None = None,
        text_pair: Columns | None = None,
        keep: Columns = (),
        file_format: Literal["parquet", "csv", "jsonl"] = "parquet",
        all_scores: bool = False,
        embeddings: bool = False,
        separator: str = "|",
        workers: int = 1,
        options: Options | None = None,
        show: ShowEvent | None = None,
    ) -> BatchPrediction:
        """Score all rows of a text source, as `kubert score` does; the result's `file` has them.

        Args:
            source: a file, directory, pattern or URI, or several, as `data.source`.
            to: directory or URI of the output.
            text: text columns, as a list or as "title,body"; by default, those of `data.text`.
            text_pair: the two columns for a model of pairs; by default, its inputs' names.
            keep: columns of the source that are written before the label.
            file_format: format of the output.
            all_scores: write the score of every class.
            embeddings: write the encoder's vector instead of label and score.
            separator: what stands between several labels of a text in CSV.
            workers: worker processes; 0: in this process.
            options: options of the section `data`, such as {"data.max_bad_rows": 5}.
            show: receives each progress event; by default, progress is shown in the notebook or
                the terminal.

        UsageError, before anything is read, for an argument that is none of these. The same call
        after an interrupt goes on; after its end it does nothing.
        """
        from components.batch_prediction import step
        from components.batch_prediction.request import BatchPredictionRequest

        if options is not None and not isinstance(options, Mapping):
            raise UsageError('options: give a dictionary, such as {"data.max_bad_rows": 5}')
        data = load_data_options(
            None,
            format_assignments(options or {}),
            read_sources(source),
            None if text is None else read_columns("text", text),
            None,
            None if text_pair is None else read_columns("text_pair", text_pair),
        )
        request = BatchPredictionRequest(
            release=self._reference,
            data=data,
            to=read_location("to", to),
            format=cast(Any, read_word("file_format", file_format, FILE_FORMATS)),
            keep=read_columns("keep", keep),
            all_scores=bool(all_scores),
            embeddings=bool(embeddings),
            separator=read_text("separator", separator),
            workers=read_integer("workers", workers, 0),
        )
        with create_view(show) as view:
            view(ProgressEvent(StepName.SCORE, kind="started"))
            with forward_events(view):
                return step.run(request)

    def close(self) -> None:
        """Remove what was downloaded; the release cannot be used afterwards."""
        self._stack.close()

    def __enter__(self) -> Release:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = f"{self.content.name}@{self.content.version}" if self.content.name else "unpublished"
        return f"<Release {name} {self.digest[:12]}>"

    def _repr_html_(self) -> str:
        content, metric = self.content, self.content.main_metric
        rows = {
            "release": f"{content.name} version {content.version}",
            "encoder": content.encoder,
            "classes": ", ".join(content.classes),
            metric.name: f"{metric.format_value()} on {content.test_rows:,} test rows",
            "SHA-256": self.digest,
        }
        if content.task.kind == "regression":
            del rows["classes"]
        return format_table(rows)

    @cached_property
    def _predictor(self) -> Predictor:
        from components.serving.predict import Predictor

        return Predictor(self._artifact)

    @cached_property
    def _explainer(self) -> Explainer:
        from components.explain.loading import load_explainer

        return load_explainer(self._artifact)


def load_release(reference: str | Path) -> Release:
    """A released model: a version's directory, STORE/NAME (the champion) or STORE/NAME/VERSION.

    STORE is a directory, gs:// or s3://. Every file is verified. DataError if there is no such
    release, or if it is incomplete or was changed.
    """
    return Release(str(reference))


def pull(reference: str | Path, to: str | Path) -> Release:
    """Download a release into `to/<version>`, as `kubert pull` does, and verify every file."""
    from components.serving.puller import pull_once

    artifact = pull_once(str(reference), Path(to), lambda _line: None)
    return Release(str(artifact.directory))
