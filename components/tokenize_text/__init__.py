"""The tokenize step: raw text in, token shards out."""
