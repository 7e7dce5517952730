"""Reads the files of a Hugging Face BERT checkpoint: JSON, vocabulary and tensors.

Nothing is unpickled and no code of a repository runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from components.artifacts.vocabulary import StripAccents, Vocabulary
from components.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_PATTERN = "model-*.safetensors"
OTHER_WEIGHT_FORMATS = (".bin", ".h5", ".msgpack", ".ckpt", ".pt", ".onnx")
CONVERT_WEIGHTS = (
    "load the model with transformers and save it with save_pretrained(DIRECTORY, "
    "safe_serialization=True)"
)
"""What makes safetensors of weights in another format."""
MAX_HEADER_BYTES = 100 << 20
_SUPPORTED_DTYPES = ("F32", "F16", "F64")
_SIZES = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
_SUPPORTED_VALUES: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
_DEFAULTS = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "max_position_embeddings": 512,
}


class BertSizes(NamedTuple):
    """What a config.json says about the network's shape."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    types: int
    norm_epsilon: float


def parse_sizes(config: Mapping[str, Any], source: str) -> BertSizes:
    """The sizes in a config.json; ConfigError names the first field that is not supported."""
    values = {**_DEFAULTS, **config}
    for field, supported in _SUPPORTED_VALUES.items():
        if values.get(field) not in supported:
            raise ConfigError(
                f"{source}: config.json: {field} is {values.get(field)!r}; "
                f"only {supported[0]!r} is supported: choose a BERT checkpoint"
            )
    for field in _SIZES.values():
        value = values.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"{source}: config.json: {field} must be a positive integer, found {value!r}"
            )
    epsilon = values["layer_norm_eps"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ConfigError(
            f"{source}: config.json: layer_norm_eps must be between 0 and 1, found {epsilon!r}"
        )
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    if hidden % heads:
        raise ConfigError(
            f"{source}: config.json: hidden_size {hidden} is not a multiple of "
            f"num_attention_heads {heads}"
        )
    return BertSizes(
        **{name: values[field] for name, field in _SIZES.items()}, norm_epsilon=epsilon
    )


def build_vocabulary(
    tokens: list[str], lower_case: bool, source: str, strip_accents: StripAccents | None = None
) -> Vocabulary:
    """A vocabulary from tokens of a foreign file; DataError names what is wrong with them."""
    try:
        return Vocabulary.model_validate(
            {"tokens": tokens, "lower_case": lower_case, "strip_accents": strip_accents}
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"{source}: {reason}") from None


def read_vocabulary_file(file: Path) -> list[str]:
    r"""The lines of a vocabulary file, ended by "\n" only: tokens may hold other separators."""
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{file}: missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8") from None
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def read_json(file: Path, optional: bool = False) -> dict[str, Any]:
    """A JSON object in a file; {} for a missing optional one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise DataError(
            f"{file}: missing; a Hugging Face BERT checkpoint has config.json, vocab.txt and "
            f"{WEIGHTS_FILE}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{file}: must hold a JSON object")
    return value


class SafetensorsFiles:
    """A checkpoint's weights, one file or several, read tensor by tensor.

    DataError if a file is missing or damaged.
    """

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._file_by_name: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        for file in list_weight_files(directory):
            try:
                self._open[file] = safe_open(file, framework="numpy")
            except FileNotFoundError:
                raise DataError(f"{file}: missing, although {INDEX_FILE} names it") from None
            except (SafetensorError, OSError) as error:
                raise DataError(f"{file}: not a readable safetensors file ({error})") from None
            self._file_by_name.update(dict.fromkeys(self._open[file].keys(), file))

    def names(self) -> list[str]:
        """Every tensor's name."""
        return list(self._file_by_name)

    def read(self, name: str) -> np.ndarray:
        """One tensor as float32."""
        import numpy as np

        file = self._file_by_name[name]
        dtype = self._open[file].get_slice(name).get_dtype()
        if dtype == "BF16":
            return _read_bfloat16(file, name)
        if dtype not in _SUPPORTED_DTYPES:
            raise DataError(
                f"{file}: {name} is {dtype}; only F32, F16, BF16 and F64 weights can be read"
            )
        return np.asarray(self._open[file].get_tensor(name), np.float32)


def list_weight_files(directory: Path) -> list[Path]:
    """The files with the weights; DataError if there is none that can be read."""
    if (directory / WEIGHTS_FILE).exists():
        return [directory / WEIGHTS_FILE]
    index = read_json(directory / INDEX_FILE, optional=True).get("weight_map")
    if isinstance(index, dict) and index:
        if unsafe := [name for name in index.values() if Path(str(name)).name != name]:
            raise DataError(f"{directory / INDEX_FILE}: names {unsafe[0]!r}, not a file beside it")
        return [directory / name for name in sorted({*index.values()})]
    if shards := sorted(directory.glob(SHARD_PATTERN)):
        _check_all_shards(shards)
        return shards
    others = _list_other_weights(directory)
    hint = f"; {', '.join(others)} cannot be read: {CONVERT_WEIGHTS}" if others else ""
    raise DataError(f"{directory / WEIGHTS_FILE}: missing{hint}")


def _check_all_shards(shards: list[Path]) -> None:
    """DataError if one of model-00001-of-0000N.safetensors to N is missing."""
    total = shards[0].stem.rpartition("-of-")[2]
    if total.isdecimal() and len(shards) != int(total):
        raise DataError(
            f"{shards[0].parent}: {len(shards)} of {int(total)} files {SHARD_PATTERN} are there; "
            "copy the others, too"
        )


def read_tensor_names(directory: Path) -> list[str]:
    """The names of all tensors, from the files' headers; DataError if one is damaged."""
    return [name for file in list_weight_files(directory) for name in _read_header(file)[1]]


def _read_header(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors begin in a safetensors file, and dtype, shape and offsets of each."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        return 8 + length, {name: each for name, each in header.items() if name != "__metadata__"}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: not a readable safetensors file ({error})") from None


def _read_bfloat16(file: Path, name: str) -> np.ndarray:
    """A bfloat16 tensor, which numpy has no type for: the upper half of each float32."""
    import numpy as np

    start, header = _read_header(file)
    first, end = header[name]["data_offsets"]
    halves = np.memmap(file, np.dtype("<u2"), "r", start + first, ((end - first) // 2,))
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(header[name]["shape"])


def _list_other_weights(directory: Path) -> list[str]:
    return [
        path.name for path in sorted(directory.glob("*")) if path.suffix in OTHER_WEIGHT_FORMATS
    ]
