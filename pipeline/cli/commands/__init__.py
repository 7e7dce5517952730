"""Commands of `kubert`, one file each; `pipeline.cli` registers them."""
