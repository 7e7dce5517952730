"""Evaluation of models that give each text any number of labels."""
