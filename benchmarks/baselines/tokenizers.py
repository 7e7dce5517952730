"""The tokenizers to compare, each as a function of texts that returns when all are tokenized."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# One thread of Hugging Face's tokenizer needs fewer CPU seconds per row than several threads.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tensorflow as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from benchmarks.harness import absent_packages
from components.artifacts.vocabulary import Vocabulary
from components.model.tokenizer import WordPiece

BATCH = 1000
MAX_LENGTH = 128
Tokenize = Callable[[Sequence[str]], object]


def tokenize_in_batches(tokenize: Callable[[list[str]], object]) -> Tokenize:
    """`tokenize` for any number of texts, `BATCH` at a time."""

    def tokenize_all(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), BATCH):
            tokenize(list(texts[start : start + BATCH]))

    return tokenize_all


def build_bare_tokenizer(wordpiece: WordPiece) -> Tokenize:
    """What the tokenize step calls: FastBertTokenizer, truncated, with [CLS] and [SEP]."""
    return tokenize_in_batches(lambda texts: wordpiece.tokenize_flat(texts, MAX_LENGTH))


def build_serving_tokenizer(wordpiece: WordPiece) -> Tokenize:
    """What the served model's graph does: the same ids as a ragged tensor."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ragged = wordpiece(texts, MAX_LENGTH)
        return ragged.values, ragged.row_splits

    return tokenize_in_batches(
        lambda texts: [part.numpy() for part in graph(tf.constant(texts, tf.string))]
    )


def build_hugging_face_tokenizer(
    vocabulary: Vocabulary, max_length: int | None = MAX_LENGTH
) -> Any:
    """BERT's tokenizer in Rust, as `BertTokenizerFast` sets it up."""
    numbers = {token: index for index, token in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(
        models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=vocabulary.lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"])
    )
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    return tokenizer


def build_notebook_tokenizer(vocabulary: Vocabulary, directory: Path) -> Tokenize:
    """Model Garden's Python tokenizer in a py_function per example of a tf.data pipeline."""
    absent_packages.install_stand_ins()
    from official.nlp.data import classifier_data_lib
    from official.nlp.tools import tokenization

    vocabulary.write(directory / "vocab.txt")
    tokenizer = tokenization.FullTokenizer(
        str(directory / "vocab.txt"), do_lower_case=vocabulary.lower_case
    )

    def to_feature(
        text: tf.Tensor, label: tf.Tensor
    ) -> tuple[list[int], list[int], list[int], int]:
        example = classifier_data_lib.InputExample(
            guid=None, text_a=text.numpy().decode(), text_b=None, label=label.numpy()
        )
        feature = classifier_data_lib.convert_single_example(
            0, example, [0, 1], MAX_LENGTH, tokenizer
        )
        return feature.input_ids, feature.input_mask, feature.segment_ids, feature.label_id

    def to_feature_map(text: tf.Tensor, label: tf.Tensor) -> list[tf.Tensor]:
        parts: list[tf.Tensor] = tf.py_function(to_feature, inp=[text, label], Tout=[tf.int32] * 4)
        for part in parts[:3]:
            part.set_shape([MAX_LENGTH])
        return parts

    def tokenize_all(texts: Sequence[str]) -> None:
        rows = tf.data.Dataset.from_tensor_slices((list(texts), [0] * len(texts)))
        for _ in (
            rows.map(to_feature_map, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(32)
            .prefetch(tf.data.AUTOTUNE)
        ):
            pass

    return tokenize_all
