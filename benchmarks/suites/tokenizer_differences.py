"""Where token ids differ from those of BERT's reference tokenizer."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.baselines.tokenizers import BATCH, build_hugging_face_tokenizer
from components.artifacts.vocabulary import Vocabulary
from components.model.tokenizer import WordPiece

MAX_TOKENS = 512
RANGES = (range(0x1, 0x3000), range(0xF900, 0x10000), range(0x1F000, 0x1FB00))
WORDS = {
    "a word of 100 letters": "a" * 100,
    "a word of 101 letters: [UNK] there": "a" * 101,
    "a word of 101 Thai letters (303 bytes): [UNK] on both sides": "ก" * 101,
    "a word of 301 letters: [UNK] on both sides": "a" * 301,
    "[SEP] as text: plain text here": "one [SEP] two",
}
EXAMPLES = 8


class ReferenceTokenizer:
    """BERT's reference tokenizer and kubert's, on one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._kubert = WordPiece(vocabulary)
        self._reference = build_hugging_face_tokenizer(vocabulary, MAX_TOKENS)
        # As in a tokenizer loaded from a file, which finds special tokens in texts.
        self._reference.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])

    def find_differing(self, texts: Sequence[str]) -> list[int]:
        """The indices of the texts whose ids are not the same."""
        found = []
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            ids, splits = self._kubert.tokenize_flat(part, MAX_TOKENS)
            for index, encoding in enumerate(self._reference.encode_batch(part)):
                if ids[splits[index] : splits[index + 1]].tolist() != encoding.ids:
                    found.append(start + index)
        return found


def probe_characters() -> list[str]:
    """Assigned characters in Unicode's lower ranges, compatibility forms and symbols."""
    every = (chr(code) for codes in RANGES for code in codes)
    return [
        character
        for character in every
        if unicodedata.category(character) not in ("Cn", "Co", "Cs")
    ]


def group_by_reason(reference: ReferenceTokenizer) -> dict[str, list[str]]:
    """The probed characters whose ids differ, alone or in a word, by reason."""
    probed = probe_characters()
    found: dict[str, list[str]] = defaultdict(list)
    for index in reference.find_differing([f"{character} a{character}b" for character in probed]):
        found[explain_difference(probed[index])].append(probed[index])
    return dict(found)


def explain_difference(character: str) -> str:
    """How the two tokenizers treat a character differently."""
    if unicodedata.category(character) in ("Cc", "Cf"):
        return "control and format characters: one tokenizer ends the word, the other drops them"
    if unicodedata.normalize("NFKC", character) != unicodedata.normalize("NFC", character):
        return "compatibility characters: kubert uses the plain form, the reference keeps them"
    if character.casefold() != character.lower():
        return "letters whose case folding is not their lower case: kubert folds them"
    return "marks, punctuation and letters that only one of the Unicode tables has"


def format_characters(found: Sequence[str]) -> str:
    """Some of the characters as code points, and as themselves where they are visible."""
    some = found[:: -(-len(found) // EXAMPLES)]
    visible = [
        f" {character}"
        if unicodedata.category(character)[0] not in "CMZ" and character != "|"
        else ""
        for character in some
    ]
    return ", ".join(
        f"U+{ord(character):04X}{sign}" for character, sign in zip(some, visible, strict=True)
    )
