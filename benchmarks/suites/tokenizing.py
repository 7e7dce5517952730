"""Tokenizing AG News: the bare tokenizer against others, and the whole step, from CSV to verified shards, against the bare tokenizer.

    python -m benchmarks.suites.tokenizing --data DIR --workdir DIR

DIR holds train.csv and test.csv (class 1-4, title, description; no header row). All sides run in one process and take turns.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.baselines.growth_rows import write_rows
from benchmarks.baselines.tokenizers import bare, hugging_face, in_batches, notebook, served
from benchmarks.harness.report import Chapter, Table
from benchmarks.harness.single import run_alone
from benchmarks.suites.tokenizer_differences import WORDS, Reference, by_reason, characters, shown
from components.artifacts import manifest
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.model.encoders import vocabulary_of
from components.model.tokenizer import WordPiece
from components.tokenize_text.step import run

TURNS = 7
SHORT_TURNS = 25
EVERY = 17
MODEL = ModelConfig(encoder="minilm")
MANY = 10
Sides = Mapping[str, Callable[[], object]]


def chapter(data: Path, workdir: Path) -> Chapter:
    """The chapter; takes about four minutes."""
    os.environ["KUBERT_PROGRESS"] = str(workdir / "progress")
    workdir.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    texts = [text for name in ("train.csv", "test.csv") for text in _texts(data / name)]
    speed, figures = _speed(texts, vocabulary, workdir)
    differing = Reference(vocabulary).differing(texts)
    return Chapter(
        "Tokenizing",
        figures,
        (
            speed,
            _whole_step(texts, vocabulary, data, workdir),
            _threads(data, workdir),
            _exceptions(vocabulary),
        ),
        (
            "CPU seconds are those of the process with all its threads. Imports are not counted; the sides take turns in one process, "
            f"and each ratio is the median over {TURNS} turns ({SHORT_TURNS} for the whole step on AG News) of the ratio within a turn.",
            f"The ids of all {len(texts):,} rows, uncut, against Hugging Face's tokenizer (BertNormalizer, BertPreTokenizer, WordPiece): {len(differing)} rows differ.",
        ),
    )


def _speed(
    texts: list[str], vocabulary: Vocabulary, workdir: Path
) -> tuple[Table, dict[str, float]]:
    wordpiece, reference = WordPiece(vocabulary), hugging_face(vocabulary)
    ours, per_example = bare(wordpiece), notebook(vocabulary, workdir)
    few = texts[::EVERY]
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "bare tokenizer, as the tokenize step calls it": (len(texts), lambda: ours(texts)),
        "the same in the served model's graph": (len(texts), _on(served(wordpiece), texts)),
        "Hugging Face tokenizers, encode_batch": (
            len(texts),
            _on(in_batches(reference.encode_batch), texts),
        ),
        "Hugging Face tokenizers, encode_batch_fast (no offsets)": (
            len(texts),
            _on(in_batches(reference.encode_batch_fast), texts),
        ),
        "the notebook's way: a py_function per example": (len(few), lambda: per_example(few)),
    }
    seconds = _turns({name: side for name, (_, side) in sides.items()})
    rates = {name: [rows / second for second in seconds[name]] for name, (rows, _) in sides.items()}
    first, _, batch, _, python = rates
    against = {name: _ratio(rates[first], rate) for name, rate in rates.items()}
    lines = [
        (name, f"{statistics.median(rate):,.0f}", f"{against[name]:.1f}")
        for name, rate in rates.items()
    ]
    caption = (
        f"Rows of AG News per CPU second in batches of 1,000, cut to 128 ids with [CLS] and [SEP] (the notebook's way: every {EVERY}th row, padded to 128), "
        "and how many times as fast the bare tokenizer is."
    )
    figures = {"tokenize_vs_hf": against[batch], "tokenize_vs_notebook": against[python]}
    return Table(
        caption, ("tokenizer", "rows per CPU second", "the bare one is faster"), tuple(lines)
    ), figures


def _vocabulary() -> Vocabulary:
    vocabulary = vocabulary_of(MODEL)
    assert vocabulary is not None
    return vocabulary


def _whole_step(texts: list[str], vocabulary: Vocabulary, data: Path, workdir: Path) -> Table:
    """The step against the bare tokenizer; building that (once per process) is told apart, as it does not grow with the rows."""
    wordpiece = WordPiece(vocabulary)
    seconds = _turns(
        {
            "bare": _on(bare(wordpiece), texts),
            "step": lambda: _step(data / "train.csv", data / "test.csv", workdir, 1),
            "building": lambda: WordPiece(_vocabulary()),
            "graph": _on(served(wordpiece), texts),
        },
        SHORT_TURNS,
    )
    seconds["bare, built"] = [
        bare + building for bare, building in zip(seconds["bare"], seconds["building"], strict=True)
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
            f"{len(texts) / statistics.median(seconds[side]):,.0f}"
            for side in (bare_side, step_side)
        ]
        lines.append((what, *rates, f"{_ratio(seconds[bare_side], seconds[step_side]):.0%}"))
    caption = (
        "AG News from CSV on disk to verified shards on disk: reading, labels, splits by hash, tokenizing, Arrow, SHA-256, manifest, and reading every "
        "file again to verify its SHA-256; one thread, in this process; rows per CPU second. "
        f"Building the tokenizer, reading its vocabulary included, takes {statistics.median(seconds['building']):.3f} CPU s, once per process."
    )
    return Table(caption, ("what", "bare tokenizer", "the whole step", "share"), tuple(lines))


def _threads(data: Path, workdir: Path) -> Table:
    many = _many(data, workdir)
    sides: Sides = {str(threads): _on_threads(many, workdir, threads) for threads in (1, 2)}
    least = {
        threads: min(every) for threads, every in _turns(sides, TURNS, time.perf_counter).items()
    }
    lines = [
        (threads, f"{seconds:.2f}", f"{least['1'] / seconds:.2f}")
        for threads, seconds in least.items()
    ]
    load = os.getloadavg()[0]
    caption = f"The whole step on {MANY} times AG News, seconds of the clock, the least of {TURNS} turns ({len(os.sched_getaffinity(0))} cores, load average {load:.1f} at the end: other work makes the other turns longer)."
    return Table(caption, ("tokenize.threads", "seconds", "times as fast"), tuple(lines))


def _exceptions(vocabulary: Vocabulary) -> Table:
    reference = Reference(vocabulary)
    differing = by_reason(reference)
    lines = [(name, f"{len(found):,}", shown(found)) for name, found in differing.items()]
    words = set(reference.differing(list(WORDS.values())))
    lines += [
        (name, "differs" if index in words else "equal", "") for index, name in enumerate(WORDS)
    ]
    caption = f"Texts whose ids are not the reference's: {len(characters()):,} characters were probed, alone and inside a word."
    return Table(caption, ("what", "differ", "such as"), tuple(lines))


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def _turns(
    sides: Sides, turns: int = TURNS, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of every side in every turn; the first turn is the warm-up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            started = clock()
            side()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def _on(tokenize: Callable[[list[str]], object], texts: list[str]) -> Callable[[], object]:
    return lambda: tokenize(texts)


def _on_threads(source: Path, workdir: Path, threads: int) -> Callable[[], object]:
    return lambda: _step(source, None, workdir, threads)


def _step(source: Path, test_source: Path | None, workdir: Path, threads: int) -> None:
    options = DataConfig(
        source=str(source),
        test_source=None if test_source is None else str(test_source),
        header=False,
        text=("1", "2"),
        label="0",
        classes=("World", "Sports", "Business", "Sci/Tech"),
    )
    run(options, MODEL, TokenizeConfig(threads=threads), workdir / "shards")
    manifest.verify(workdir / "shards", "token_shards")


def _many(data: Path, workdir: Path) -> Path:
    path = workdir / "many.csv"
    if not path.exists():
        write_rows(
            [data / "train.csv", data / "test.csv"],
            path,
            MANY * sum(len(_texts(data / name)) for name in ("train.csv", "test.csv")),
        )
    return path


def _texts(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [" ".join(filter(None, texts)) for _, *texts in csv.reader(stream)]


if __name__ == "__main__":
    run_alone("tokenizing", __doc__, chapter)
