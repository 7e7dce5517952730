"""Tokenizing AG News: the bare tokenizer against others, and the whole step against the former.

    python -m benchmarks.suites.tokenizing --data DIR --workdir DIR

DIR holds train.csv and test.csv (class 1-4, title, description; no header row). All contenders run
in one process and take turns.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.baselines.growth_rows import write_csv_rows
from benchmarks.baselines.tokenizers import (
    build_bare_tokenizer,
    build_hugging_face_tokenizer,
    build_notebook_tokenizer,
    build_serving_tokenizer,
    tokenize_in_batches,
)
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single
from benchmarks.suites.tokenizer_differences import (
    WORDS,
    ReferenceTokenizer,
    format_characters,
    group_by_reason,
    probe_characters,
)
from components.artifacts.artifact import verify_artifact
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.model.encoders import load_vocabulary
from components.model.tokenizer import WordPiece
from components.tokenize_text.step import run

TURNS = 7
SHORT_TURNS = 25
NOTEBOOK_STRIDE = 17
MODEL = ModelConfig(encoder="minilm")
MANY_TIMES = 10
Contenders = Mapping[str, Callable[[], object]]


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Run all comparisons; takes about four minutes."""
    os.environ["KUBERT_PROGRESS"] = str(workdir / "progress")
    workdir.mkdir(parents=True, exist_ok=True)
    vocabulary = _load_vocabulary()
    texts = [text for name in ("train.csv", "test.csv") for text in _read_texts(data / name)]
    speed, figures = _compare_tokenizers(texts, vocabulary, workdir)
    differing = ReferenceTokenizer(vocabulary).find_differing(texts)
    return BenchmarkReport(
        "Tokenizing",
        figures,
        (
            speed,
            _compare_step(texts, vocabulary, data, workdir),
            _compare_threads(data, workdir),
            _find_exceptions(vocabulary),
        ),
        (
            "CPU seconds are those of the process with all its threads, without imports. The "
            "contenders take turns in one process, and each ratio is the median of the ratios "
            f"within {TURNS} turns ({SHORT_TURNS} for the whole step on AG News).",
            f"The ids of all {len(texts):,} rows, not truncated, against Hugging Face's tokenizer "
            "(BertNormalizer, BertPreTokenizer, WordPiece): "
            f"{len(differing)} rows differ.",
        ),
    )


def _compare_tokenizers(
    texts: list[str], vocabulary: Vocabulary, workdir: Path
) -> tuple[Table, dict[str, float]]:
    wordpiece, reference = WordPiece(vocabulary), build_hugging_face_tokenizer(vocabulary)
    kubert, per_example = (
        build_bare_tokenizer(wordpiece),
        build_notebook_tokenizer(vocabulary, workdir),
    )
    few = texts[::NOTEBOOK_STRIDE]
    contenders: dict[str, tuple[int, Callable[[], object]]] = {
        "bare tokenizer, as the tokenize step calls it": (len(texts), lambda: kubert(texts)),
        "the same in the served model's graph": (
            len(texts),
            _bind_texts(build_serving_tokenizer(wordpiece), texts),
        ),
        "Hugging Face tokenizers, encode_batch": (
            len(texts),
            _bind_texts(tokenize_in_batches(reference.encode_batch), texts),
        ),
        "Hugging Face tokenizers, encode_batch_fast (no offsets)": (
            len(texts),
            _bind_texts(tokenize_in_batches(reference.encode_batch_fast), texts),
        ),
        "the notebook's way: a py_function per example": (len(few), lambda: per_example(few)),
    }
    seconds = _measure_turns({name: contender for name, (_, contender) in contenders.items()})
    rates = {
        name: [rows / second for second in seconds[name]] for name, (rows, _) in contenders.items()
    }
    first, _, batch, _, python = rates
    against = {name: _median_ratio(rates[first], rate) for name, rate in rates.items()}
    lines = [
        (name, f"{statistics.median(rate):,.0f}", f"{against[name]:.1f}")
        for name, rate in rates.items()
    ]
    caption = (
        "Rows of AG News per CPU second in batches of 1,000, truncated to 128 ids with [CLS] and "
        f"[SEP] (the usual notebook: every {NOTEBOOK_STRIDE}th row, padded to 128), and how many "
        "times as fast the bare tokenizer is."
    )
    figures = {"tokenize_vs_hf": against[batch], "tokenize_vs_notebook": against[python]}
    return Table(
        caption, ("tokenizer", "rows per CPU second", "the bare one is faster"), tuple(lines)
    ), figures


def _load_vocabulary() -> Vocabulary:
    vocabulary = load_vocabulary(MODEL)
    assert vocabulary is not None
    return vocabulary


def _compare_step(texts: list[str], vocabulary: Vocabulary, data: Path, workdir: Path) -> Table:
    """Compare the step with the bare tokenizer, with and without the time to build the latter."""
    wordpiece = WordPiece(vocabulary)
    seconds = _measure_turns(
        {
            "bare": _bind_texts(build_bare_tokenizer(wordpiece), texts),
            "step": lambda: _run_step(data / "train.csv", data / "test.csv", workdir, 1),
            "building": lambda: WordPiece(_load_vocabulary()),
            "graph": _bind_texts(build_serving_tokenizer(wordpiece), texts),
        },
        SHORT_TURNS,
    )
    seconds["bare, built"] = [
        build_bare_tokenizer + building
        for build_bare_tokenizer, building in zip(seconds["bare"], seconds["building"], strict=True)
    ]
    seconds["step, built"] = [
        step - building for step, building in zip(seconds["step"], seconds["building"], strict=True)
    ]
    pairs = {
        "the tokenizer built before": ("bare", "step, built"),
        "the tokenizer built by both": ("bare, built", "step"),
        "the tokenizer built by the step alone": ("bare", "step"),
        "the tokenizer built before, against the served model's graph": ("graph", "step, built"),
    }
    lines = []
    for what, (bare_side, step_side) in pairs.items():
        rates = [
            f"{len(texts) / statistics.median(seconds[contender]):,.0f}"
            for contender in (bare_side, step_side)
        ]
        lines.append((what, *rates, f"{_median_ratio(seconds[bare_side], seconds[step_side]):.0%}"))
    caption = (
        "AG News from CSV to verified shards, both on disk: reading, labels, splits by hash, "
        "tokenizing, Arrow, SHA-256, manifest, and verification of every file; one thread, in this "
        "process; rows per CPU second. Building the tokenizer, including its vocabulary, takes "
        f"{statistics.median(seconds['building']):.3f} CPU s, once per process."
    )
    return Table(caption, ("what", "bare tokenizer", "the whole step", "share"), tuple(lines))


def _compare_threads(data: Path, workdir: Path) -> Table:
    many = _write_many_rows(data, workdir)
    contenders: Contenders = {
        str(threads): _bind_threads(many, workdir, threads) for threads in (1, 2)
    }
    least = {
        threads: min(every)
        for threads, every in _measure_turns(contenders, TURNS, time.perf_counter).items()
    }
    lines = [
        (threads, f"{seconds:.2f}", f"{least['1'] / seconds:.2f}")
        for threads, seconds in least.items()
    ]
    load = os.getloadavg()[0]
    caption = (
        f"The whole step on {MANY_TIMES} times AG News, wall seconds, the lowest of {TURNS} turns "
        f"({len(os.sched_getaffinity(0))} cores, load average {load:.1f} at the end; other load "
        "makes turns longer)."
    )
    return Table(caption, ("tokenize.threads", "seconds", "times as fast"), tuple(lines))


def _find_exceptions(vocabulary: Vocabulary) -> Table:
    reference = ReferenceTokenizer(vocabulary)
    differing = group_by_reason(reference)
    lines = [
        (name, f"{len(found):,}", format_characters(found)) for name, found in differing.items()
    ]
    words = set(reference.find_differing(list(WORDS.values())))
    lines += [
        (name, "differs" if index in words else "equal", "") for index, name in enumerate(WORDS)
    ]
    caption = (
        f"Texts whose ids differ from the reference: {len(probe_characters()):,} characters were "
        "probed, alone and inside a word."
    )
    return Table(caption, ("what", "differ", "such as"), tuple(lines))


def _median_ratio(kubert: list[float], baseline: list[float]) -> float:
    return statistics.median(our / their for our, their in zip(kubert, baseline, strict=True))


def _measure_turns(
    contenders: Contenders, turns: int = TURNS, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of every contender in every turn; the first turn, the warm-up, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, contender in contenders.items():
            started = clock()
            contender()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def _bind_texts(tokenize: Callable[[list[str]], object], texts: list[str]) -> Callable[[], object]:
    return lambda: tokenize(texts)


def _bind_threads(source: Path, workdir: Path, threads: int) -> Callable[[], object]:
    return lambda: _run_step(source, None, workdir, threads)


def _run_step(source: Path, test_source: Path | None, workdir: Path, threads: int) -> None:
    options = DataConfig(
        source=str(source),
        test_source=None if test_source is None else str(test_source),
        header=False,
        text=("1", "2"),
        label="0",
        classes=("World", "Sports", "Business", "Sci/Tech"),
    )
    run(options, MODEL, TokenizeConfig(threads=threads), workdir / "shards")
    verify_artifact(workdir / "shards", "token_shards")


def _write_many_rows(data: Path, workdir: Path) -> Path:
    path = workdir / "many.csv"
    if not path.exists():
        write_csv_rows(
            [data / "train.csv", data / "test.csv"],
            path,
            MANY_TIMES * sum(len(_read_texts(data / name)) for name in ("train.csv", "test.csv")),
        )
    return path


def _read_texts(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [" ".join(filter(None, texts)) for _, *texts in csv.reader(stream)]


if __name__ == "__main__":
    run_single("tokenizing", __doc__, run_suite)
