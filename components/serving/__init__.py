"""Serving: pulls releases to a model server's directory, serves them over REST, and predicts."""
