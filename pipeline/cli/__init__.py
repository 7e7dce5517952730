"""The kubert command."""
