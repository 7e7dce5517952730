"""The sample data sets, written for this project: CSV files with a header row."""

from pathlib import Path

SAMPLE_FILES = {
    "sample": Path(__file__).parent / "news.csv",
    "sample:pairs": Path(__file__).parent / "questions.csv",
}
"""Files by the value of `data.source` that names them.

`sample`: 800 invented news items, 200 each in World, Sports, Business, Sci/Tech (title,
description, label). `sample:pairs`: questions with a sentence that answers them or does not
(question, answer, label).
"""
