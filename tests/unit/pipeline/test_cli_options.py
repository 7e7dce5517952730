from __future__ import annotations

import typer
from typer.testing import CliRunner

from pipeline.cli.main import app as kubert
from pipeline.cli.options import JsonOutput, ServerOptions, with_server_options


def invoke_with_server_options(*arguments: str, config_option: bool = True) -> tuple[int, object]:
    received: list[object] = []
    app = typer.Typer()

    @app.command()
    @with_server_options(config_option=config_option)
    def command(name: str, server: ServerOptions, as_json: JsonOutput = False) -> None:
        received.extend([name, server, as_json])

    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, tuple(received)


def test_a_command_receives_its_server_options_as_one_object() -> None:
    given = ("--endpoint", "http://a", "news", "--json", "--namespace", "b", "--config", "c")
    expected = ServerOptions(config="c", endpoint="http://a", namespace="b")
    assert invoke_with_server_options(*given) == (0, ("news", expected, True))
    assert invoke_with_server_options("news") == (0, ("news", ServerOptions(), False))


def test_a_command_whose_argument_is_the_configuration_has_no_config_option() -> None:
    assert invoke_with_server_options("news", config_option=False)[0] == 0
    assert invoke_with_server_options("news", "--config", "c", config_option=False)[0] == 2


def test_the_help_of_every_command_is_printed() -> None:
    """Rich reads square brackets in help texts as markup, and fails at some."""
    root = typer.main.get_command(kubert)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for subname in ["", *getattr(command, "commands", {})]:
            arguments = [*f"{name} {subname}".split(), "--help"]
            result = CliRunner().invoke(kubert, arguments)
            assert (result.exit_code, result.exception) == (0, None), arguments
            assert "Show this message and exit" in result.output, arguments


def test_every_command_that_talks_to_a_server_has_the_same_options() -> None:
    """And all flags as such: scripts depend on them."""
    root = typer.main.get_command(kubert)
    flags = {}
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for subname, subcommand in getattr(command, "commands", {"": command}).items():
            options = [flag for each in subcommand.params for flag in each.opts]
            flags[f"{name} {subname}".strip()] = [flag for flag in options if flag[0] == "-"]
    server = ["--endpoint", "--namespace", "--experiment"]
    folds = ["--folds", "--parallel"]
    wait, dry, tags = (
        ["--key", "--wait", "--json"],
        ["--dry-run"],
        ["--allow-tags", "--skip-check", "--json"],
    )
    assert flags == {
        "run": ["--set", "--workdir", *folds, "--release", "--json"],
        "predict": ["--json"],
        "compile": ["--output", "-o", "--set", "--pipeline", *folds],
        "config": ["--set"],
        "doctor": ["--cluster", "--probe-store", "--set", "--workdir", "--json"],
        "explain": ["--class", "--steps", "--layers", "--heads", "--html", "--json"],
        "score": [
            *("--source", "--to", "--text", "--text-pair", "--keep", "--format", "--all-scores"),
            *("--embeddings", "--separator", "--workers", "--max-bad-rows", "--config", "--set"),
            *("--cluster", *server, *wait[:2], *dry, *tags),
        ],
        "pull": ["--to", "--watch", "--keep", "--json"],
        "serve": ["--name", "--host", "--port"],
        "submit": ["--set", *folds, *server, *wait[:2], *dry, "--no-cache", *tags],
        "models list": ["--json"],
        "models show": ["--json"],
        "models rollback": ["--to", "--json"],
        "runs list": ["--config", *server, "--limit", "--json"],
        "runs show": ["--config", *server, "--json"],
        "runs logs": ["--config", *server, "--step", "--tail"],
        "runs stop": ["--config", *server],
        "schedule apply": ["--set", *server, "--pipeline", *dry, *tags],
        "schedule list": ["--config", *server, "--json"],
        "schedule show": ["--config", *server, "--json"],
        "schedule pause": ["--config", *server],
        "schedule resume": ["--config", *server],
        "schedule run-now": ["--config", *server, *wait],
        "schedule delete": ["--config", *server],
    }
