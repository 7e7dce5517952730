"""Generates docs/reference from the code: options, commands, variables, exit codes and formats.

python -m docs.generate_reference [DIRECTORY]
"""

from __future__ import annotations

import sys
from pathlib import Path

from components.config.environment import ENVIRONMENT_VARIABLES
from components.errors import ExitCode
from components.workers import exit_codes
from docs.reference_pages.api_pages import API_PAGES, format_api_page
from docs.reference_pages.artifact_formats import format_artifact_formats
from docs.reference_pages.command_line import format_command_line
from docs.reference_pages.configuration import format_configuration
from docs.reference_pages.markdown import format_page, format_table, wrap

REFERENCE = Path(__file__).parent / "reference"


def format_environment_variables() -> str:
    """The page of all environment variables."""
    sections = []
    for heading, set_by in (("Set by you", "user"), ("Set by kubert", "kubert")):
        rows = [
            (f"`{variable.name}`", variable.description, variable.default, variable.read_by)
            for variable in ENVIRONMENT_VARIABLES
            if variable.set_by == set_by
        ]
        table = format_table(("variable", "description", "default", "read by"), rows)
        sections.append(f"## {heading}\n\n{table}")
    return format_page(
        "Environment variables",
        wrap(
            "This page lists the environment variables that kubert reads, for users and operators. "
            "Command-line flags take precedence over environment variables, and these over the "
            "configuration."
        ),
        *sections,
    )


def format_exit_codes() -> str:
    """The page of the exit codes of the command, of the steps and of the training workers."""
    rows = [(str(int(code)), f"`{code.name}`", code.description) for code in ExitCode]
    return format_page(
        "Exit codes",
        wrap(
            "This page lists the exit codes of the `kubert` command and of the steps, for scripts "
            "and for the diagnosis of pods. The command reports 64, 65, 72 and 78 of a step as 2."
        ),
        format_table(("code", "name", "meaning"), rows),
        "## Training workers\n\n"
        + wrap(
            "A worker's code tells its launcher what to do. Restarts count towards "
            "`train.max_restarts`, except after code 75."
        ),
        format_worker_exit_codes(),
    )


def format_worker_exit_codes() -> str:
    """The table in the docstring of `components.workers.exit_codes`."""
    lines = [line for line in (exit_codes.__doc__ or "").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return format_table(cells[0], cells[2:])


def generate_pages() -> dict[str, str]:
    """Path below the reference -> content of every generated page."""
    return {
        "configuration.md": format_configuration(),
        "cli.md": format_command_line(),
        "environment-variables.md": format_environment_variables(),
        "exit-codes.md": format_exit_codes(),
        "artifact-formats.md": format_artifact_formats(),
        **{f"api/{page.name}.md": format_api_page(page) for page in API_PAGES},
    }


def main(directory: Path = REFERENCE) -> None:
    """Write all pages."""
    for name, content in generate_pages().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
