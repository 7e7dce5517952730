"""The evaluation report as one HTML page without scripts or network requests.

`render_report` is a pure function: equal content and explanations give equal bytes.
Everything that comes from data (texts, class names, notes) passes the template's `finalize` and is
escaped after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.artifacts.report import MultiLabelReport, RegressionReport, Report, ReportContent
from components.evaluate.report_page import number_format
from components.evaluate.report_page.multi_label import describe_multi_label
from components.evaluate.report_page.origin import describe_origin, list_minima
from components.evaluate.report_page.regression import describe_regression
from components.evaluate.report_page.single_label import describe_single_label
from components.explain import page as explanation_page
from components.explain.explanation import Explanation
from components.html_template import load_templates


def render_report(
    content: Report, explanations: Sequence[Explanation] = (), note: str | None = None
) -> str:
    """The page, to be encoded as UTF-8.

    explanations: of the first mistakes, in their order. note: why there are not more.
    """
    filters = {
        "percent": number_format.format_percent,
        "decimal": number_format.format_decimal,
        "count": number_format.format_count,
        "duration": number_format.format_duration,
        "rate": number_format.format_rate,
        "number": number_format.format_number,
    }
    environment = load_templates(Path(__file__).parent, filters)
    template, values = _describe_kind(content)
    return environment.get_template(template).render(
        report=content,
        explanations=explanation_page.render_parts(explanations, "mistake"),
        explanation_style=explanation_page.render_style() if explanations else "",
        explanation_note=note,
        minima=list_minima(content),
        **describe_origin(content),
        **values,
    )


def _describe_kind(content: Report) -> tuple[str, dict[str, Any]]:
    """The template for the kind of task, and its values."""
    match content:
        case ReportContent():
            return "report.html.j2", describe_single_label(content)
        case MultiLabelReport():
            return "multi_label.html.j2", describe_multi_label(content)
        case RegressionReport():
            return "regression.html.j2", describe_regression(content)
