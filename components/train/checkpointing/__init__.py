"""How the state of a training is saved, kept and restored."""
