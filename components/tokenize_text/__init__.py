"""The tokenize step: raw text to token shards."""
