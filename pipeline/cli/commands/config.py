"""`kubert config`: a configuration file with every option, to start from."""

from __future__ import annotations

import typer

from pipeline.cli.options import DEFAULT_CONFIG, Assignments, ConfigName


def print_config(config: ConfigName = DEFAULT_CONFIG, assignments: Assignments = None) -> None:
    """Print a configuration with every option, its unit, default and a description.

    Save it to a file, change it, and pass the file to `kubert run` or `kubert submit`.
    """
    from pipeline import presets

    heading = (
        f"{presets.read_preset_comment(config)}\n\n"
        "The default is shown where a value differs from it. "
        f"Shipped configurations: {', '.join(presets.list_presets())}."
    )
    typer.echo(
        presets.render_config(presets.load_preset(config, assignments), heading.strip()), nl=False
    )
