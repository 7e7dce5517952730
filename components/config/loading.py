"""Loads a configuration from a YAML file and `--set` assignments."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from components.config.cluster import PATTERN_MEANINGS
from components.config.data import TEXT_AND_PAIR
from components.config.renamed_options import RENAMED_OPTIONS
from components.config.schema import Config
from components.config.section import Section
from components.config.yaml_loader import ConfigLoader, ImpossibleValueError
from components.errors import ConfigError, shorten_value

CLASSES_OPTION = "data.classes"
CLASS_WEIGHTS_OPTION = "train.class_weights"
YAML_INDICATORS = frozenset("|>#,&*!%@`-?:")
"""Characters that mean something at the beginning of a YAML value, and nothing alone."""
S = TypeVar("S", bound=Section)
_TEXT_OR_LIST = ("str", "tuple[str, ...]")
"""What pydantic calls the types of an option that is a text or a list of texts."""
_NAME_IN_BRACKETS = re.compile(r"(\w+\[[^\"']*?\])(?=\s*:\s)")
_DATA_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq", ".gz", ".xlsx")


def validate_config(values: Mapping[str, Any], source: str = "config") -> Config:
    """The configuration; ConfigError naming each wrong option, its value and what is allowed."""
    return _validate(Config, values, source)


def validate_section(kind: type[S], values: Mapping[str, Any], source: str) -> S:
    """One section by itself; ConfigError as from `validate_config`.

    Rules between sections are not checked: they were, when the whole configuration was read.
    """
    return _validate(kind, values, source, (find_section_name(kind),))


def find_section_name(kind: type[Section]) -> str:
    """The name under which a configuration has a section of this kind."""
    return next(name for name, field in Config.model_fields.items() if field.annotation is kind)


def _validate(
    kind: type[S], values: Mapping[str, Any], source: str, location: tuple[str, ...] = ()
) -> S:
    """The values as their kind; `location`: where in a configuration they are."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = ({**each, "loc": (*location, *each["loc"])} for each in error.errors())
        raise ConfigError(f"{source}:\n" + "\n".join(_describe_errors(errors))) from None


def load_config(path: Path | None = None, assignments: Iterable[str] = ()) -> Config:
    """The options of a YAML file (none: defaults), overridden by section.option=value assignments.

    Values are parsed as YAML; a single special character, such as the | of task.separator, needs no
    quotes. Raises ConfigError for an unreadable file, an unknown option or an impossible value.
    """
    assignments = tuple(assignments)
    values = {} if path is None else _read_yaml(path)
    for assignment in assignments:
        _apply_assignment(values, assignment)
    sources = [path.name if path else "", "--set" if assignments else ""]
    source = " with ".join(filter(None, sources)) or "config"
    data = values.get("data")
    if isinstance(data, dict) and "text" in data and data.get("text_pair") is not None:
        # The section alone cannot tell columns that are given from equal ones by default.
        raise ConfigError(f"{source}:\n  data: {TEXT_AND_PAIR}")
    return validate_config(values, source)


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.name.lower().endswith(_DATA_SUFFIXES):
        raise ConfigError(
            f"{path}: a data file, not a configuration; name it in data.source, or give it with "
            f"--set data.source={path}"
        )
    try:
        loaded = _parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; `kubert config` prints one to start from"
        ) from None
    except ImpossibleValueError as error:
        raise ConfigError(f"{path}: {_describe_yaml_error(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {_describe_yaml_error(error)}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise ConfigError(
            f"{path}: must contain sections (data, model, train, ...), "
            f"found a {type(loaded).__name__}"
        )
    return loaded or {}


def _parse_yaml(text: str, option: str | None = None) -> Any:
    """The value of a YAML text: of a whole configuration, or of one option.

    The names of classes, in `data.classes` and `train.class_weights`, are kept as written: YAML
    would read 007 as 7 and no as false.
    """
    loader = ConfigLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        names: list[yaml.Node] = []
        classes = _find_option(node, CLASSES_OPTION, option)
        if isinstance(classes, yaml.SequenceNode):
            names += classes.value
        weights = _find_option(node, CLASS_WEIGHTS_OPTION, option)
        if isinstance(weights, yaml.MappingNode):
            names += [name for name, _ in weights.value]
        for name in names:
            if isinstance(name, yaml.ScalarNode):
                name.tag = "tag:yaml.org,2002:str"
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _find_option(node: yaml.Node, wanted: str, option: str | None) -> yaml.Node | None:
    """The node of an option in a whole configuration, or in the value of one `option`."""
    if option is None:
        return _find_node(node, wanted.split("."))
    return node if option == wanted else None


def _find_node(node: yaml.Node, keys: Sequence[str]) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        values = [value for name, value in node.value if name.value == key]
        if not values:
            return None
        node = values[-1]
    return node


def _describe_yaml_error(error: Exception) -> str:
    """The problem with its line and column, counted from 1, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _apply_assignment(values: dict[str, Any], assignment: str) -> None:
    name, equals, text = assignment.partition("=")
    section, dot, option = name.strip().partition(".")
    if not (equals and dot and section and option):
        raise ConfigError(
            f"--set {assignment}: write section.option=value, for example train.epochs=3"
        )
    try:
        is_character = text.strip() in YAML_INDICATORS
        value = text.strip() if is_character else _parse_yaml(text, name.strip())
    except ImpossibleValueError as error:
        raise ConfigError(f"--set {name.strip()}: {error.problem}") from None
    except yaml.YAMLError:
        raise ConfigError(
            f"--set {shorten_value(assignment)}: {shorten_value(text)!r} is not a YAML value; "
            f"quote text with special characters: --set '{name}={_quote_special_text(text)}'"
        ) from None
    if not isinstance(values.setdefault(section, {}), dict):
        raise ConfigError(f"--set {assignment}: {section} is not a section of options")
    values[section] = {**values[section], option: value}


def _quote_special_text(text: str) -> str:
    """How the value would be written: with its names in brackets quoted, if that makes it YAML."""
    if not text.lstrip().startswith("{"):
        return '"..."'
    quoted = _NAME_IN_BRACKETS.sub(r'"\1"', text)
    try:
        _parse_yaml(quoted)
    except yaml.YAMLError:
        return '{"...": ...}'
    return quoted


def _describe_errors(errors: Iterable[Any]) -> list[str]:
    """A line for each wrong option, also for one that is none of several types."""
    return [*dict.fromkeys(map(_describe_error, errors))]


def _describe_error(error: Any) -> str:
    # Without the index of an entry of a list: the value that is given shows which one it is.
    parts = [part for part in error["loc"] if isinstance(part, str)]
    is_text_or_list = len(parts) == 3 and parts[2] in _TEXT_OR_LIST
    name = ".".join(parts[:2] if is_text_or_list else parts) or "config"
    if name in RENAMED_OPTIONS:
        return f"  {name}: this option is now called {RENAMED_OPTIONS[name]}"
    if error["type"] == "extra_forbidden":
        if (parent := _find_option_above(name)) is not None:
            key = name.removeprefix(f"{parent}.")
            key = f'"{key}"' if "[" in key else key
            return (
                f"  {name}: {parent} is one option, with its entries in braces: "
                f"--set '{parent}={{{key}: ...}}'"
            )
        return f"  {name}: no such option; `kubert config` lists them all{_suggest_option(name)}"
    is_whole_value = is_text_or_list and len(error["loc"]) == 3
    message = "must be text or a list" if is_whole_value else _describe_expectation(error)
    if isinstance(error["input"], dict | BaseModel):
        return f"  {name}: {message}"
    return f"  {name}: {message} (given: {_mask_credentials(_show_value(error['input']))})"


def _show_value(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits, or a deep nesting
        return f"a value of type {type(value).__name__}"


def _describe_expectation(error: Any) -> str:
    """What is wrong with a value, or what it has to be, with an example where pydantic has none."""
    given = error["input"]
    if error["type"] == "tuple_type":
        return f"must be a list, such as [{given}]" if isinstance(given, str) else "must be a list"
    if error["type"] == "string_pattern_mismatch":
        meaning = PATTERN_MEANINGS.get(error["ctx"]["pattern"])
        if meaning is not None:
            return f"must be {meaning}"
    return str(error["msg"]).removeprefix("Value error, ")


def _find_option_above(name: str) -> str | None:
    """The option of entries, such as train.class_weights, that `name` adds one entry to."""
    section, _, rest = name.partition(".")
    option, dot, _ = rest.partition(".")
    if not dot or section not in Config.model_fields:
        return None
    field = getattr(Config.model_fields[section].annotation, "model_fields", {}).get(option)
    if field is None:
        return None
    kinds = [field.annotation]
    if get_origin(field.annotation) is Union:
        kinds += get_args(field.annotation)
    return f"{section}.{option}" if any(get_origin(kind) is dict for kind in kinds) else None


def _suggest_option(name: str) -> str:
    """A question with the most similar name of the same section (or of a section), or nothing."""
    section, dot, option = name.rpartition(".")
    names = Config.model_fields
    if dot:
        names = getattr(names[section].annotation, "model_fields", {}) if section in names else {}
    similar = difflib.get_close_matches(option, names, n=1, cutoff=0.85)
    return f"; did you mean {section}{dot}{similar[0]}?" if similar else ""


def _mask_credentials(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//***@", text)
