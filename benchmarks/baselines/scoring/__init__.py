"""Contenders that classify all rows of a file."""
