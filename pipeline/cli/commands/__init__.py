"""The commands of `kubert`, one file each; `pipeline.cli.main` registers them."""
