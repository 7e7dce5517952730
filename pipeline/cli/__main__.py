"""`python -m pipeline.cli` is the kubert command."""

from pipeline.cli.main import main

main()
