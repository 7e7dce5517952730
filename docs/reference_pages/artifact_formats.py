"""The page of the file formats: names from the constants, fields from the models of the code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import pyarrow as pa

from components.artifacts import cross_validation
from components.artifacts.artifact import MAX_ARTIFACT_BYTES, MAX_FILE_NAME_BYTES, MAX_FILES
from components.artifacts.checkpoint import (
    VOCABULARY_FILENAME,
    WEIGHTS_PREFIX,
    CheckpointContent,
    EpochMetrics,
)
from components.artifacts.gate_decision import GateDecision
from components.artifacts.manifest import (
    MANIFEST_FILENAME,
    READABLE_FORMATS_TEXT,
    TASK_FORMAT_VERSION,
    ArtifactKind,
    Manifest,
)
from components.artifacts.predictions import COLUMNS, PREDICTIONS_FILENAME, build_schema
from components.artifacts.release import MODEL_FILENAME, ReleaseContent
from components.artifacts.report import (
    CONTENT_FILENAME,
    PAGE_FILENAME,
    CalibrationBin,
    ClassMetrics,
    DataSummary,
    LabelMetrics,
    LabelMistake,
    Misclassification,
    MultiLabelReport,
    NumberMistake,
    RegressionReport,
    ReportContent,
    RocCurve,
    TrainingSummary,
)
from components.artifacts.shard_metadata import (
    PROVENANCE,
    LongTextCounts,
    ShardsContent,
    SplitInfo,
)
from components.artifacts.task import TaskInfo
from components.artifacts.vocabulary import SPECIAL_TOKENS, VOCABULARY_FILE
from components.config.model import LongTexts
from components.progress import ProgressEvent
from components.registry.champion import ChampionPointer
from components.registry.claims import VersionClaim
from components.registry.listing import champion_key, claim_key, record_key
from components.registry.records import ReleaseRecord
from components.serving.model_directory import LOCK_FILENAME, UNFINISHED_PATTERN
from components.storage.atomic_files import FileEntry
from components.train.checkpointing.train_state import LOSSES_FILE, TENSORS_FILE, TrainState
from components.train.job import STATE_FORMAT, Job
from docs.reference_pages.markdown import format_code, format_page, format_table, wrap
from docs.reference_pages.model_fields import format_model

INTRODUCTION = f"""\
This page describes the files that kubert writes for other processes to read: artifacts, the model
registry, a server's directory and the state of a training. It is for developers, and for operators
who look into a store. [Artifacts](../concepts/artifacts.md) explains the guarantees behind it.

An artifact is a directory with a `{MANIFEST_FILENAME}`. The manifest is written last, so a
directory without one is not an artifact. Readers refuse a manifest whose `format_version` they do
not know ({READABLE_FORMATS_TEXT}), a file that does not match its checksum, and a file that the
manifest does not name. Format {TASK_FORMAT_VERSION} is that of artifacts with a `task` other than
single labels, which versions before that field would misread; all others keep format 1.
"""
SHARDS = """\
The tokenize step writes token shards: the tokenized rows of each split, in their final order. The
Arrow IPC files are not compressed, so readers map them into memory. `<split>` is `train`,
`validation` or `test`; files are numbered from 00000.
"""
SHARDS_CONTENT = """\
The manifest holds the fields of `ShardsContent`: {fields} in `provenance`, which the digest
does not cover, and all others in `content`.
"""
CHECKPOINT = """\
The train step writes a finished checkpoint: the weights of the best epoch, and how they were
trained. Its manifest's `content` is a `CheckpointContent`; `inputs` has the digest of the token
shards as `shards`, and `config` the options of `train`. Options have the names that they had before
they were [renamed](configuration.md#renamed-options).
"""
REPORT = """\
The evaluate step writes a report. The manifest's `inputs` has the digests of the token shards and
of the checkpoint, and its `content` the classes and the scalar metrics.
"""
CROSS_VALIDATION = """\
The summarize step writes the summary of a cross-validation. The manifest's `inputs` has the digest
of the report of each fold.
"""
GATE = """\
The gate step writes one JSON file, which is not an artifact of its own. The release's manifest
repeats it as `gate`.
"""
RELEASE = """\
The export step writes a release: a directory that TensorFlow Serving can serve. Its manifest's
`content` is a `ReleaseContent`; `provenance` has the time (`released`) and the run (`run`).
"""
REGISTRY = """\
A model registry is a directory or a prefix in a bucket. These keys stand below it; `NAME` is the
model's name. The files below `.kubert` are JSON.
"""
PULL = f"""\
`kubert pull` and the puller keep a model server's directory. A version appears by one rename, so
every directory whose name is a number is complete. Names that match
`{UNFINISHED_PATTERN.pattern}` are unfinished downloads; the next pull removes them.
"""
STATE = f"""\
The workers of a training share its state: a directory, or a prefix in object storage. Its name is
the training's identifier, which covers the state format ({STATE_FORMAT}), the data, the model and
the options that change the result. A state of another format is therefore never read.
"""
PERIODIC = f"""\
A periodic checkpoint is an artifact of kind `checkpoint` whose `content` has two entries:
`identity`, which names the training, and `position`, a `TrainState`. Its files are
`{TENSORS_FILE}.index` and `{TENSORS_FILE}.data-*`, the variables of model and optimizer in
TensorFlow's checkpoint format, and `{LOSSES_FILE}`, the mean loss of every step (float64, one
dimension).
"""
FEATURES = "features of a frozen encoder: float32, rows by width; shared with other trainings"
PROGRESS = """\
A step reports its progress as JSON lines: to the file that `KUBERT_PROGRESS` names, else to
standard output. Empty fields are left out, and the entries of `metrics` stand beside the other
fields.
"""


def format_artifact_formats() -> str:
    """The content of artifact-formats.md."""
    kinds = ", ".join(format_code(kind) for kind in get_args(ArtifactKind))
    return format_page(
        "Artifact formats",
        wrap(INTRODUCTION),
        f"## Manifest file\n\nKinds: {kinds}. Format numbers: {READABLE_FORMATS_TEXT}.",
        wrap(
            f"An artifact has at most {MAX_FILES:,} files and {MAX_ARTIFACT_BYTES // 2**30} GiB. "
            f"File names are relative, with `/` between folders, at most {MAX_FILE_NAME_BYTES} "
            "bytes long, and differ by more than case. The digest of an artifact is the SHA-256 "
            "over the kind, the format number, `files`, `inputs`, `config` and `content`: equal "
            "artifacts have equal digests."
        ),
        format_model(Manifest),
        format_model(FileEntry),
        _format_token_shards(),
        _format_checkpoint(),
        _format_report(),
        _format_cross_validation(),
        f"## Gate decision\n\n{wrap(GATE)}",
        format_model(GateDecision),
        _format_release(),
        _format_registry(),
        _format_pull_directory(),
        _format_training_state(),
        f"## Progress events\n\n{wrap(PROGRESS)}",
        format_model(ProgressEvent),
    )


def _format_token_shards() -> str:
    files = [
        (VOCABULARY_FILE, f"word pieces, one a line; has {', '.join(SPECIAL_TOKENS)}"),
        ("<split>-00000.arrow", "rows of a split, at most `tokenize.rows_per_shard` per file"),
        (MANIFEST_FILENAME, "kind `token_shards`"),
    ]
    columns = [
        (
            "input_ids",
            "list of uint16",
            "token ids with [CLS] and [SEP], without padding; int32 for vocabularies over 65,536",
        ),
        (
            "label",
            "int32",
            "index into the classes; of several labels a list of int32, of a regression float64",
        ),
        ("text", "string", "the text; in `train` only with `tokenize.keep_texts`"),
    ]
    return _join(
        f"## Token shards\n\n{wrap(SHARDS)}",
        _format_files(files),
        format_table(
            ("column", "type", "content"), [(format_code(a), b, c) for a, b, c in columns]
        ),
        wrap(SHARDS_CONTENT.format(fields=", ".join(map(format_code, sorted(PROVENANCE))))),
        format_model(ShardsContent),
        format_model(SplitInfo),
        format_model(LongTexts),
        format_model(LongTextCounts),
        format_model(TaskInfo),
    )


def _format_checkpoint() -> str:
    files = [
        (f"{WEIGHTS_PREFIX}.index", "names and shapes of the weights (TensorFlow checkpoint)"),
        (f"{WEIGHTS_PREFIX}.data-00000-of-00001", "the weights"),
        (VOCABULARY_FILENAME, "the vocabulary of the token shards"),
        ("tensorboard/events.*", "event files for TensorBoard"),
        (MANIFEST_FILENAME, "kind `checkpoint`"),
    ]
    return _join(
        f"## Checkpoint\n\n{wrap(CHECKPOINT)}",
        _format_files(files),
        format_model(CheckpointContent),
        format_model(EpochMetrics),
    )


def _describe_column(schema: pa.Schema, name: str) -> str:
    """The type of a column, or a dash if the file has none."""
    return _arrow_type(schema.field(name).type) if name in schema.names else "-"


def _format_report() -> str:
    schemas = [build_schema(columns, has_pairs=False) for columns in COLUMNS]
    files = [
        (
            CONTENT_FILENAME,
            "all figures: `ReportContent`, with several labels `MultiLabelReport`, with numbers "
            "`RegressionReport`",
        ),
        (PAGE_FILENAME, "the same for people, in one file"),
        (PREDICTIONS_FILENAME, "the scores of every test row (Arrow IPC, not compressed)"),
        (MANIFEST_FILENAME, "kind `report`"),
    ]
    columns = [
        (format_code(name), *(_describe_column(schema, name) for schema in schemas))
        for name in schemas[0].names
    ]
    return _join(
        f"## Report\n\n{wrap(REPORT)}",
        _format_files(files),
        f"The columns of `{PREDICTIONS_FILENAME}`:",
        format_table(("column", "single_label", "multi_label", "regression"), columns),
        "The lists of `label` and `predicted` have indices of classes.",
        *map(
            format_model,
            (
                ReportContent,
                MultiLabelReport,
                RegressionReport,
                ClassMetrics,
                LabelMetrics,
                RocCurve,
                CalibrationBin,
                Misclassification,
                LabelMistake,
                NumberMistake,
                DataSummary,
                TrainingSummary,
            ),
        ),
    )


def _format_cross_validation() -> str:
    files = [
        (cross_validation.CONTENT_FILENAME, "all figures: `CrossValidationContent`"),
        (cross_validation.PAGE_FILENAME, "the same for people, in one file"),
        (
            cross_validation.PREDICTIONS_FILENAME,
            "the columns of the reports' predictions, with `fold`, names of classes, and by kind "
            "of task `label_score` and `confidence`; `wrong`, `is_missed` and `confidence`; or "
            "`error` (Parquet)",
        ),
        (MANIFEST_FILENAME, "kind `cross_validation`"),
    ]
    models = (
        cross_validation.CrossValidationContent,
        cross_validation.FoldResult,
        cross_validation.MetricSummary,
    )
    return _join(
        f"## Cross-validation\n\n{wrap(CROSS_VALIDATION)}",
        _format_files(files),
        *map(format_model, models),
    )


def _format_release() -> str:
    files = [
        (MODEL_FILENAME, "the graph of the SavedModel"),
        ("fingerprint.pb", "TensorFlow's fingerprint of the SavedModel"),
        ("variables/", "the weights"),
        ("assets/", "files that the graph reads"),
        (
            "assets.extra/tf_serving_warmup_requests",
            "requests that are replayed before a version "
            "serves; absent with `export.warmup_requests=0`",
        ),
        (MANIFEST_FILENAME, "kind `release`"),
    ]
    return _join(
        f"## Release\n\n{wrap(RELEASE)}", _format_files(files), format_model(ReleaseContent)
    )


def _format_registry() -> str:
    keys = [
        (f"NAME/VERSION/{MANIFEST_FILENAME}", "makes the version complete: a `release` manifest"),
        ("NAME/VERSION/...", "the files of the release"),
        (claim_key("NAME", "VERSION"), "who claimed the number: `VersionClaim`"),
        (record_key("NAME", "KEY"), "the version of a release key: `ReleaseRecord`"),
        (champion_key("NAME"), "the version that a rollback chose: `ChampionPointer`"),
    ]
    return _join(
        f"## Model registry\n\n{wrap(REGISTRY)}",
        _format_files(keys, "key"),
        *map(format_model, (VersionClaim, ReleaseRecord, ChampionPointer)),
    )


def _format_pull_directory() -> str:
    files = [
        ("VERSION/", "a release, verified; the highest number is the champion"),
        (LOCK_FILENAME, "lock file of the process that changes the directory"),
    ]
    return _join(f"## Pull directory\n\n{wrap(PULL)}", _format_files(files))


def _format_training_state() -> str:
    files = [
        ("checkpoints/step-<step>/", "periodic checkpoints of the last steps"),
        ("checkpoints/bad-step-<step>/", "a checkpoint that did not verify, set aside"),
        ("best/", "the weights of the best epoch so far"),
        ("finished/", "the finished checkpoint; the training is over"),
        ("tensorboard/", "event files of all chiefs"),
        ("lock", "lock file of the chief"),
        ("../features/<inputs>/<split>.npy", FEATURES),
    ]
    keys = [
        (
            "checkpoints/<generation>/step-<step>/",
            "periodic checkpoints; `bad.txt` in one sets it aside",
        ),
        ("best/<generation>/step-<step>/", "the weights of the best epoch at that step"),
        ("finished/<generation>/", "the finished checkpoint"),
        ("tensorboard/", "event files of all chiefs"),
        ("leases/<generation>", "JSON: `owner` of the generation, and `chief`, unique per chief"),
        ("beats/<generation>", "a counter that the living chief changes, or `released`"),
        ("jobs/<digest>.json", "the job document of a worker group: `Job`"),
        ("../features/<inputs>/<split>.npy", FEATURES),
    ]
    return _join(
        f"## Training state\n\n{wrap(STATE)}",
        "In a directory:",
        _format_files(files),
        "In object storage; generations have 6 digits, steps 9:",
        _format_files(keys, "key"),
        wrap(PERIODIC),
        format_model(TrainState),
        format_model(Job),
    )


def _format_files(files: Iterable[tuple[str, str]], heading: str = "file") -> str:
    return format_table((heading, "content"), [(format_code(name), text) for name, text in files])


def _arrow_type(data_type: pa.DataType) -> str:
    return f"list of {data_type.value_type}" if pa.types.is_list(data_type) else str(data_type)


def _join(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts)
