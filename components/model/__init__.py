"""The model: the one tokenizer, the encoders and the classifier on top of them, for training and for serving alike."""
