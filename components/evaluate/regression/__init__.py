"""Evaluation of models that give each text a number."""
