"""Guesses the encoding of a text that is not UTF-8, for messages only: it never decides a reading.

`charset_normalizer` tells scripts apart; for short texts it confuses the encodings of languages in
Latin letters, and Japanese with others, so these are told apart by what is frequent in them.
"""

from __future__ import annotations

from collections.abc import Collection

MAX_EXAMINED_LINES = 2000
COMMON_ENCODINGS = {
    "cp1252": "windows-1252",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "koi8_r": "koi8-r",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "cp874": "cp874",
    "gb18030": "gb18030",
    "big5": "big5",
    "shift_jis": "shift_jis",
    "euc_jp": "euc-jp",
    "euc_kr": "euc-kr",
}
"""What files that are not UTF-8 are in, and how users write it."""
LATIN_ENCODINGS = ("cp1252", "cp1250", "cp1254")
_KANA = range(0x3040, 0x3100)
_MIN_SHARE_OF_KANA = 0.2
_MIN_SHARE_OF_LETTERS = 0.15
_CENTRAL_EUROPEAN_LETTERS = "ěřľłążśźťůőű".encode("cp1250")
_TURKISH_LETTERS = "ışğİ".encode("cp1254")
_NORDIC_LETTERS = "åæ".encode("cp1252")


def guess_encoding(text: bytes) -> str | None:
    """Return the encoding that the bytes are probably in; None if that is not clear."""
    from charset_normalizer import from_bytes

    lines = [line for line in text.splitlines(keepends=True) if not line.isascii()]
    examined = b"".join(lines[:MAX_EXAMINED_LINES])
    for encoding in ("shift_jis", "euc_jp"):
        if _is_japanese(examined, encoding):
            return COMMON_ENCODINGS[encoding]
    best = from_bytes(examined, cp_isolation=[*COMMON_ENCODINGS]).best()
    if best is None:
        return None
    encoding = _guess_latin(examined) if best.encoding in LATIN_ENCODINGS else best.encoding
    return COMMON_ENCODINGS.get(encoding)


def _is_japanese(text: bytes, encoding: str) -> bool:
    try:
        characters = [ord(each) for each in text.decode(encoding) if not each.isascii()]
    except UnicodeDecodeError:
        return False
    kana = sum(each in _KANA for each in characters)
    return kana > len(characters) * _MIN_SHARE_OF_KANA


def _guess_latin(text: bytes) -> str:
    if _share(text, _TURKISH_LETTERS) > _MIN_SHARE_OF_LETTERS:
        return "cp1254"
    is_nordic = _share(text, _NORDIC_LETTERS) > _MIN_SHARE_OF_LETTERS
    if not is_nordic and _share(text, _CENTRAL_EUROPEAN_LETTERS) > _MIN_SHARE_OF_LETTERS:
        return "cp1250"
    return "cp1252"


def _share(text: bytes, letters: Collection[int]) -> float:
    """Return the share of the letters among all that are not ASCII."""
    others = [byte for byte in text if byte > 127]
    return sum(byte in letters for byte in others) / max(1, len(others))
