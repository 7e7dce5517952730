"""The nouns: directories with a manifest written last, how they are written, read and verified."""
