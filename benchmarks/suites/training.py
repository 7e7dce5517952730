"""Fine-tuning against the usual notebook, Hugging Face's `Trainer` and Model Garden's trainer.

    python -m benchmarks.suites.training --data DIR --workdir DIR
        [--only MODEL] [--variant train.precision=bfloat16]...

Each contender is a process of its own and trains on the same rows of AG News in batches of 32, one
round (an epoch over the rows) per turn.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.baselines import training_inputs
from benchmarks.harness import interleaving, single
from benchmarks.harness.contender import Contender, start_contenders
from benchmarks.harness.interleaving import Measurement
from benchmarks.harness.report import BenchmarkReport, Table, format_report
from benchmarks.models import small_bert
from components.artifacts.token_shards import open_shards
from components.model.encoders import hugging_face
from components.train.hardware import resolve_precision
from components.train.loop.batch_plan import padding_efficiency, plan_epoch, select_length_buckets

CONFIG = "ag_news_minilm"
ROWS = {"L4": 1600, "minilm": 800}
TURNS = {"L4": 5, "minilm": 3}
NAMES = {"L4": "4 layers, 128 wide", "minilm": "MiniLM (6 layers, 384 wide)"}
BASELINES = {
    "notebook": "the notebook's way",
    "hf_trainer": "Hugging Face Trainer",
    "garden": "Model Garden's run_experiment",
}
# PyTorch's threads spin while they wait for each other. That counts as CPU time: up to four times
# the work itself where other load has a core.
PASSIVE_WAIT = {"OMP_WAIT_POLICY": "passive"}
FIGURE_KEYS = {
    ("L4", "notebook"): "train_l4_vs_notebook",
    ("minilm", "notebook"): "train_minilm_vs_notebook",
    ("minilm", "hf_trainer"): "train_vs_hf_trainer",
    ("L4", "garden"): "train_vs_model_garden",
}


def run_suite(
    data: Path, workdir: Path, models: Sequence[str] = tuple(ROWS), variants: Sequence[str] = ()
) -> BenchmarkReport:
    """Run the comparison; each of `variants`, an option of kubert, adds a row to the table."""
    figures: dict[str, float] = {}
    lines: list[tuple[str, ...]] = []
    notes: list[str] = []
    for model in models:
        done = _measure_model(model, data, workdir / model, variants)
        lines += _format_rows(model, done)
        figures |= {
            key: interleaving.median_ratio(done["kubert"], done[contender])
            for (of, contender), key in FIGURE_KEYS.items()
            if of == model
        }
        if model == "L4":
            figures["input_wait_share"] = interleaving.median(
                round.extra["other_waits"] / round.wall_seconds for round in done["kubert"]
            )
            first = interleaving.median(round.extra["first_wait"] for round in done["kubert"])
            notes.append(
                "In the steps of an epoch the loop waits for its next batch "
                f"{figures['input_wait_share']:.3%} of the time (input_wait_share, L4), and "
                f"{first * 1000:.0f} ms for the first batch, for which there is no overlap."
            )
    figures["padding_efficiency"] = _measure_padding_efficiency(data, workdir / "all")
    return BenchmarkReport(
        title="Training",
        figures=figures,
        tables=(
            Table(
                "Examples per CPU second (median of the rounds), and how many times as fast kubert "
                "is (median over the turns; lowest and highest).",
                (
                    "model",
                    "side",
                    "examples per CPU second",
                    "examples per second",
                    "kubert is faster",
                    "turns",
                    "examples per round",
                ),
                tuple(lines),
            ),
        ),
        notes=(
            "All contenders train the same weights on the same rows of AG News in batches of 32, "
            "with dropout 0.1 and AdamW, on all cores. They take turns, one at a time, after a "
            "warm-up. CPU seconds are those of the process: all threads, user and system time.",
            "kubert: a real worker in the configuration `ag_news_minilm`, whose "
            f"train.precision=auto means {_native_precision(data)} on this machine; the baselines "
            "compute in float32, their default. A round is one epoch with reading, padding and "
            "the optimizer's deferred updates. It ends before validation and checkpoints, which "
            "the baselines' rounds do not have.",
            "The usual notebook: texts tokenized in the model, padded to 128, `compile` and `fit`. "
            "Hugging Face: rows tokenized in advance, grouped by length, padded per batch; "
            "PyTorch's threads wait without spinning (OMP_WAIT_POLICY=passive), which favours it "
            "here. Model Garden: TFRecords padded to 128, experiment `bert/sentence_prediction`.",
            f"{figures['padding_efficiency']:.1%} of the tokens that an epoch over all rows "
            "computes are real (padding_efficiency).",
            *notes,
        ),
    )


def _native_precision(data: Path) -> str:
    return resolve_precision(training_inputs.load_preset(CONFIG, data).train, "local").precision


def _measure_model(
    model: str, data: Path, home: Path, variants: Sequence[str]
) -> dict[str, list[Measurement]]:
    """The measurements of every contender on one model."""
    shutil.rmtree(home, ignore_errors=True)
    encoder, weights = prepare_encoder(model, home)
    config = training_inputs.prepare_rows(
        training_inputs.load_preset(CONFIG, data, f"model.encoder={encoder}"), home, ROWS[model]
    )

    def kubert(name: str, *settings: str) -> Contender:
        options = dict(setting.removeprefix("train.").split("=", 1) for setting in settings)
        job = training_inputs.write_job(config, home / "shards", home / name, **options)
        return Contender(
            "benchmarks.baselines.training_kubert", [job], home / "logs" / f"{name}.log"
        )

    contenders = {"kubert": kubert("kubert")}
    contenders |= {
        f"kubert, {variant}": kubert(f"kubert-{number}", variant)
        for number, variant in enumerate(variants)
    }
    for other in BASELINES:
        if (model, other) in FIGURE_KEYS or other == "hf_trainer":
            arguments = [home / "rows", weights, *([home / "garden"] if other == "garden" else [])]
            environment = PASSIVE_WAIT if other == "hf_trainer" else {}
            contenders[other] = Contender(
                f"benchmarks.baselines.training_{other}",
                arguments,
                home / "logs" / f"{other}.log",
                environment=environment,
            )
    with start_contenders(**contenders):
        done = interleaving.interleave(contenders, TURNS[model])
    rounds = {
        name: [dataclasses.asdict(round) for round in rounds] for name, rounds in done.items()
    }
    (home / "rounds.json").write_text(json.dumps(rounds, indent=1), encoding="utf-8")
    return done


def prepare_encoder(model: str, home: Path) -> tuple[str, Path]:
    """The encoder's name in kubert's options, and the directory with its weights."""
    if model == "minilm":
        return model, hugging_face.locate_checkpoint(model)
    weights = small_bert.write_untrained(home / "weights")
    return f"hf:{weights}", weights


def _format_rows(model: str, done: dict[str, list[Measurement]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name, rounds in done.items():
        is_kubert = name.startswith("kubert")
        low, high = interleaving.ratio_range(done["kubert"], rounds)
        factor = interleaving.median_ratio(done["kubert"], rounds)
        wall_rates = (round.examples / round.wall_seconds for round in rounds)
        lines.append(
            (
                NAMES[model],
                name if is_kubert else BASELINES[name],
                f"{interleaving.median(round.examples_per_cpu_second for round in rounds):.1f}",
                f"{interleaving.median(wall_rates):.1f}",
                "" if name == "kubert" else f"{factor:.2f} times ({low:.2f} to {high:.2f})",
                str(len(rounds)),
                str(rounds[0].examples),
            )
        )
    return lines


def _measure_padding_efficiency(data: Path, home: Path) -> float:
    """Over an epoch of all AG News rows in the shipped configuration."""
    config = training_inputs.load_preset(CONFIG, data)
    shutil.rmtree(home, ignore_errors=True)
    content = training_inputs.write_shards(config, home / "shards")
    lengths = open_shards(home / "shards").open_split("train").read_lengths()
    train = config.train
    buckets = select_length_buckets(train, content.max_length)
    plan = plan_epoch(
        lengths,
        batch_size=train.batch_size,
        buckets=buckets,
        window=train.length_grouping_batches,
        seed=train.seed,
        epoch=0,
    )
    return padding_efficiency(plan, lengths)


def main() -> None:
    """Run the suite and print its report."""
    command = single.build_parser(__doc__)
    command.add_argument("--only", choices=list(ROWS), action="append")
    command.add_argument("--variant", action="append", default=[])
    arguments = command.parse_args()
    print(
        format_report(
            run_suite(
                arguments.data,
                arguments.workdir / "training",
                arguments.only or tuple(ROWS),
                arguments.variant,
            )
        )
    )


if __name__ == "__main__":
    main()
