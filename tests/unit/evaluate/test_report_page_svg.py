from __future__ import annotations

import pytest

from components.evaluate.report_page import number_format, plots
from components.evaluate.report_page.svg import Axes, format_coordinate, round_ticks


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "\u2013"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.99999, ">99.9%"),
        (0.00001, "<0.1%"),
        (0.8994, "89.9%"),
        (0.5, "50.0%"),
    ],
)
def test_percentages(value: float | None, written: str) -> None:
    assert number_format.format_percent(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "\u2013"), (0.9996, ">0.999"), (1.0, "1.000"), (0.1234, "0.123"), (2.5, "2.500")],
)
def test_decimals(value: float | None, written: str) -> None:
    assert number_format.format_decimal(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.25, "0.2 s"), (59.9, "59.9 s"), (75, "1 min 15 s"), (7_500, "2 h 05 min")],
)
def test_durations(seconds: float, written: str) -> None:
    assert number_format.format_duration(seconds) == written


def test_other_numbers() -> None:
    assert (
        number_format.format_count(7_600.0),
        number_format.format_tick(2_000.50),
        number_format.format_rate(5e-5),
        number_format.format_rate(0.001),
    ) == (
        "7,600",
        "2,000.5",
        "5e-05",
        "0.001",
    )


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 2_265, 5, [0, 500, 1_000, 1_500, 2_000]),
        (0.83, 1, 5, [0.85, 0.9, 0.95, 1]),
        (0, 3e-7, 3, [0, 1e-7, 2e-7, 3e-7]),
    ],
)
def test_ticks_are_round_and_within(
    low: float, high: float, count: int, expected: list[float]
) -> None:
    assert round_ticks(low, high, count) == pytest.approx(expected)


def test_what_is_out_of_range_stays_inside_the_picture() -> None:
    axes = Axes(left=10, top=20, width=100, height=50, x=(0, 1), y=(0, 10))
    assert (axes.to_x(0), axes.to_x(1), axes.to_x(7), axes.to_x(-7)) == (10, 110, 110, 10)
    assert (axes.to_y(0), axes.to_y(10), axes.to_y(99)) == (70, 20, 20)


def test_coordinates_are_written_without_noise() -> None:
    assert [format_coordinate(value) for value in (1.0, -0.01, 2.25, 1 / 3)] == [
        "1",
        "0",
        "2.2",
        "0.3",
    ]


@pytest.mark.parametrize(("share", "length"), [(0.5, 9), (0.95, 20), (1.0, 32), (0.01, 5)])
def test_length_quantiles(share: float, length: int) -> None:
    assert plots.length_quantile({5: 10, 9: 45, 20: 40, 32: 5}, share) == length


def test_an_empty_histogram_can_be_drawn() -> None:
    assert plots.length_quantile({}, 0.5) == 0
    assert "<svg" in plots.draw_length_histogram({}, 16)
