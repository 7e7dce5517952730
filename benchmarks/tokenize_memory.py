"""Peak memory of the tokenize step for inputs of different sizes, anonymous and file-backed pages apart.

Writes CSV files of made-up rows to a temporary directory, tokenizes each in a process of its own and samples that process's
/proc status every 20 ms.

    python benchmarks/tokenize_memory.py --rows 50000 5000000 --encoder minilm
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

LABELS = ("World", "Sports", "Business", "Sci/Tech")
FIELDS = ("VmRSS", "RssAnon", "RssFile")


def write_rows(path: Path, rows: int) -> None:
    """A CSV file of `rows` different texts, about 40 words each out of 5,000."""
    rng = random.Random(1)  # noqa: S311
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(20, 60))) for _ in range(5000)]
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("title,description,label\n")
        for row in range(rows):
            stream.write(f'"{words[row % 4999]}, {row}",{texts[row % 5000]},{LABELS[row % 4]}\n')


def as_parquet(path: Path) -> Path:
    """The same rows as a Parquet file with row groups of a million rows, pyarrow's default."""
    table = csv.open_csv(path)
    output = path.with_suffix(".parquet")
    with parquet.ParquetWriter(output, table.schema) as writer:
        rows: list[pa.RecordBatch] = []
        for batch in table:
            rows.append(batch)
            if sum(map(len, rows)) >= 1 << 20:
                writer.write_table(pa.Table.from_batches(rows))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_batches(rows))
    return output


def peaks(command: list[str], log: Path) -> tuple[dict[str, float], float]:
    """Largest VmRSS, RssAnon and RssFile in MB while the command runs, and its seconds; fails if the command does."""
    most: dict[str, float] = defaultdict(float)
    started = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            except OSError:
                break
            for name, kilobytes in re.findall(r"(\w+):\s+(\d+) kB", status):
                if name in FIELDS:
                    most[name] = max(most[name], int(kilobytes) / 1024)
            time.sleep(0.02)
    if process.wait():
        sys.exit(log.read_text(encoding="utf-8"))
    return dict(most), time.monotonic() - started


def main() -> None:
    """Measure each number of rows and print one line of a table for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 5_000_000])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    arguments = parser.parse_args()
    print("| rows | input MB | peak RSS MB | anonymous MB | file-backed MB | seconds | rows/s |\n|---|---|---|---|---|---|---|", flush=True)
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="kubert-bench-") as directory:
            source, output = Path(directory) / "rows.csv", Path(directory) / "shards"
            write_rows(source, rows)
            source = as_parquet(source) if arguments.format == "parquet" else source
            options = [f"data.source={source}", f"model.encoder={arguments.encoder}"]
            command = [sys.executable, "-m", "components.tokenize_text", "--output", str(output)]
            most, seconds = peaks(command + [part for option in options for part in ("--set", option)], Path(directory) / "log")
            figures = [f"{most[name]:.0f}" for name in FIELDS]
            print(
                f"| {rows:,} | {source.stat().st_size / 2**20:.0f} | {' | '.join(figures)} | {seconds:.0f} | {rows / seconds:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
