"""The sample data sets, written for this project: CSV files with a header row."""

from pathlib import Path

SAMPLE_FILES = {
    "sample": Path(__file__).parent / "news.csv",
    "sample:long": Path(__file__).parent / "minutes.csv",
    "sample:pairs": Path(__file__).parent / "questions.csv",
    "sample:tickets": Path(__file__).parent / "tickets.csv",
    "sample:reviews": Path(__file__).parent / "reviews.csv",
}
"""Files by the value of `data.source` that names them.

`sample`: 800 invented news items, 200 each in World, Sports, Business, Sci/Tech (title,
description, label). `sample:pairs`: questions with a sentence that answers them or does not
(question, answer, label). `sample:long`: 600 invented minutes of a town council of 60 to 220 words,
whose decision is at the beginning, in the middle or, in half of them, at the end (minutes,
decision: approved, rejected, postponed). `sample:tickets`: 800 requests to a support team, each
with any number of eight tags, joined by | (subject, message, tags). `sample:reviews`: 800 hotel
reviews with a rating from 0 to 10 (review, rating).
"""
