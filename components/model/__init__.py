"""The model: tokenizer, encoders and classifier, the same for training and for serving."""
