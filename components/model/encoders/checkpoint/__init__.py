"""The files of a Hugging Face BERT checkpoint: sizes, tokenizer and weights."""
