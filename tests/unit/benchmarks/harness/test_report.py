from benchmarks.harness.report import BenchmarkReport, Table, format_report


def test_a_chapter_as_markdown() -> None:
    table = Table("Rows per second", ("side", "a|b"), (("plain", "1"), ("ours", "2")))
    assert format_report(
        BenchmarkReport(
            "Speed", {"ratio": 2.0, "seconds": 12345.678}, (table,), ("On one machine.",)
        )
    ) == (
        "## Speed\n\n"
        "Figures:\n\n| figure | value |\n| --- | --- |\n| ratio | 2 |\n| seconds | 12345.7 |\n\n"
        "Rows per second:\n\n| side | a\\|b |\n| --- | --- |\n| plain | 1 |\n| ours | 2 |\n\n"
        "- On one machine.\n"
    )


def test_what_a_chapter_does_not_have_is_left_out() -> None:
    assert format_report(BenchmarkReport("Empty", {}, ())) == "## Empty\n"
