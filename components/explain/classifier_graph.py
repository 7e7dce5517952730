"""The parts of a classifier's graph that explanations are made of, found by what they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.config.task import TaskKind
from components.errors import DataError
from components.explain.function_body import FunctionBody

_LOOKUPS = ("ResourceGather", "GatherV2")
_REARRANGEMENTS = ("Identity", "Reshape", "GatherV2")
"""What ids go through, as the first input, before they are looked up: windows are rows of their
own, without the empty ones."""
_TOKENIZER = "FastWordpieceTokenizeWithOffsets"
_SCORES: Mapping[TaskKind, str] = {
    "single_label": "Softmax",
    "multi_label": "Sigmoid",
    "regression": "AddV2",
}
"""The operation that scores, or numbers, are computed by."""


@dataclass(frozen=True)
class ClassifierGraph:
    """Token ids -> logits, as one function's graph; names are those of its tensors.

    ids: int32 [texts, tokens]. embeddings: float32 [rows, tokens, width], what the word pieces are
    looked up as, where rows are texts or their windows; None where the encoder is a sealed graph
    that is called as a whole. logits: float32 [texts, classes]; of a regression the numbers,
    [texts, 1]. attention: one per layer, from the first to the last, [rows, heads, queries,
    tokens]; none of a sealed encoder.
    """

    body: FunctionBody
    ids: str
    embeddings: str | None
    logits: str
    attention: tuple[str, ...]


@dataclass(frozen=True)
class TokenizerGraph:
    """Texts -> word pieces before truncation, and the padding's id.

    ids, pieces (strings) and row_splits are those of the pieces; padding is a scalar; padded has
    the truncated rows with [CLS] and [SEP].
    """

    body: FunctionBody
    text: str
    pieces: str
    ids: str
    row_splits: str
    padding: str
    padded: str


def find_classifier(body: FunctionBody, kind: TaskKind = "single_label") -> ClassifierGraph:
    """The parts of a function from token ids to scores.

    DataError if its scores are not computed as those of the kind of task.
    """
    nodes = {node.name: node for node in body.graph.node}
    (ids,) = body.arguments
    scores = _skip_identities(nodes, body.outputs[0])
    if scores.op != _SCORES[kind]:
        raise DataError(
            f"the model's scores are computed by {scores.op}, not by {_SCORES[kind]}; "
            "it was not exported by kubert"
        )
    ancestors = list(_list_ancestors(nodes, scores.name))
    lookups = [
        node
        for node in ancestors
        if node.op in _LOOKUPS and _find_origin(nodes, node.input[1]).name == ids
    ]
    softmaxes = [node for node in ancestors if node.op == "Softmax" and node.name != scores.name]
    return ClassifierGraph(
        body=body,
        ids=f"{ids}:0",
        embeddings=f"{lookups[0].name}:0" if len(lookups) == 1 else None,
        logits=f"{scores.name}:0" if kind == "regression" else _tensor_name(scores.input[0]),
        attention=tuple(f"{node.name}:0" for node in softmaxes) if len(lookups) == 1 else (),
    )


def find_served_graphs(
    body: FunctionBody, kind: TaskKind = "single_label"
) -> tuple[TokenizerGraph, ClassifierGraph]:
    """The tokenizer and the classifier in a release's function; DataError if they are not there."""
    tokenizer = next((each for each in _list_bodies(body) if each.find(_TOKENIZER)), None)
    if tokenizer is not None:
        bodies = _list_bodies(tokenizer)
        classifier = next(
            (each for each in bodies if len(each.arguments) == 1 and _ends_in_scores(each, kind)),
            None,
        )
        padding = tokenizer.find("RaggedTensorToTensor")
        if classifier is not None and len(padding) == 1:
            name = tokenizer.find(_TOKENIZER)[0].name
            graph = TokenizerGraph(
                body=tokenizer,
                text=f"{tokenizer.arguments[0]}:0",
                pieces=f"{name}:0",
                ids=f"{name}:1",
                row_splits=f"{name}:2",
                padding=_tensor_name(padding[0].input[2]),
                padded=f"{padding[0].name}:0",
            )
            return graph, find_classifier(classifier, kind)
    raise DataError("the model has no tokenizer and classifier as kubert exports them")


def _list_bodies(body: FunctionBody) -> Iterator[FunctionBody]:
    yield body
    for called in body.enter_calls():
        yield from _list_bodies(called)


def _ends_in_scores(body: FunctionBody, kind: TaskKind) -> bool:
    nodes = {node.name: node for node in body.graph.node}
    return len(body.outputs) == 1 and _skip_identities(nodes, body.outputs[0]).op == _SCORES[kind]


def _skip_identities(nodes: dict[str, Any], tensor: str) -> Any:
    node = nodes[tensor.partition(":")[0]]
    while node.op == "Identity":
        node = nodes[node.input[0].partition(":")[0]]
    return node


def _find_origin(nodes: dict[str, Any], tensor: str) -> Any:
    """The node of a tensor, or of that which it is a rearrangement of."""
    node = nodes[tensor.partition(":")[0]]
    while node.op in _REARRANGEMENTS:
        node = nodes[node.input[0].partition(":")[0]]
    return node


def _list_ancestors(nodes: dict[str, Any], name: str) -> Iterator[Any]:
    """All that a node is computed from, and the node: each after what it is computed from."""
    seen: set[str] = set()
    stack = [(name, False)]
    while stack:
        current, inputs_are_done = stack.pop()
        if inputs_are_done:
            yield nodes[current]
        elif current not in seen:
            seen.add(current)
            stack.append((current, True))
            inputs = (each.lstrip("^").partition(":")[0] for each in nodes[current].input)
            stack.extend((each, False) for each in inputs)


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"
