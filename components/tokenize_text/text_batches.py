"""Groups examples into batches of one split each and tokenizes the batches on threads."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, compress

from components.artifacts.token_shards import TokenizedTexts
from components.data.labelled_text import ExampleBatch
from components.data.labels import Label
from components.data.split_names import SPLITS, SplitName
from components.data.text_columns import Text, count_characters

MAX_BATCH_ROWS = 4000
MAX_BATCH_CHARACTERS = 1 << 22
MAX_WAITING_BATCHES_PER_THREAD = 2
SWITCH_INTERVAL_SECONDS = 0.0005


@dataclass
class TextBatch:
    """Texts and labels of one split that are tokenized together."""

    split: SplitName
    texts: list[Text] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    characters: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no row may be added."""
        return len(self.texts) == MAX_BATCH_ROWS or self.characters >= MAX_BATCH_CHARACTERS

    def add_until_full(self, texts: Sequence[Text], labels: Sequence[Label]) -> int:
        """Add rows from the first on until the batch is full; return how many were added."""
        texts = texts[: MAX_BATCH_ROWS - len(self.texts)]
        lengths = count_characters(texts)
        if self.characters + sum(lengths) >= MAX_BATCH_CHARACTERS:
            totals = list(accumulate(lengths, initial=self.characters))[1:]
            texts = texts[: bisect_left(totals, MAX_BATCH_CHARACTERS) + 1]
        self.texts += texts
        self.labels += labels[: len(texts)]
        self.characters += sum(lengths[: len(texts)])
        return len(texts)


def batch_by_split(examples: Iterable[ExampleBatch]) -> Iterator[TextBatch]:
    """Yield full batches of each split, its rows in order; the rest comes at the end."""
    open_batches = {split: TextBatch(split) for split in SPLITS}
    for example_batch in examples:
        for index, split in enumerate(SPLITS):
            in_split = example_batch.splits == index
            if not in_split.any():
                continue
            mask = in_split.tolist()
            texts = list(compress(example_batch.texts, mask))
            labels = list(compress(example_batch.labels, mask))
            while texts:
                batch = open_batches[split]
                added = batch.add_until_full(texts, labels)
                texts, labels = texts[added:], labels[added:]
                if batch.is_full:
                    yield batch
                    open_batches[split] = TextBatch(split)
    yield from (batch for batch in open_batches.values() if batch.texts)


def tokenize_batches(
    batches: Iterable[TextBatch],
    tokenize: Callable[[Sequence[Text]], TokenizedTexts],
    threads: int,
) -> Iterator[tuple[TextBatch, TokenizedTexts]]:
    """Yield every batch with its tokens, in order.

    One thread reads and tokenizes in turn. More threads tokenize while this one reads on; at most
    MAX_WAITING_BATCHES_PER_THREAD batches per thread wait in memory.
    """
    if threads == 1:
        yield from ((batch, tokenize(batch.texts)) for batch in batches)
        return
    waiting: deque[tuple[TextBatch, Future[TokenizedTexts]]] = deque()
    with _short_switch_interval(), ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, pool.submit(tokenize, batch.texts)))
            if len(waiting) > MAX_WAITING_BATCHES_PER_THREAD * threads:
                oldest, tokens = waiting.popleft()
                yield oldest, tokens.result()
        yield from ((batch, tokens.result()) for batch, tokens in waiting)


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Shorten the interpreter's switch interval, after which a thread gives way to waiting ones.

    Threads that return from TensorFlow would wait for the reading thread 5 ms, as long as a batch
    takes.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
