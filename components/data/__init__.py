"""From raw text files to labelled examples in splits."""
