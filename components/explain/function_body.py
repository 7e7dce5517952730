"""The operations of a traced function, and of the functions it calls, with what they captured.

A loaded SavedModel is functions that call functions. `FunctionBody` is one of them as a graph of
its own, whose captured variables are those of the loaded model, so that a part of it can be run.
All access to TensorFlow's private modules stands here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

Tensor = Any

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_CONDITIONALS = ("If", "StatelessIf")


@dataclass(frozen=True)
class FunctionBody:
    """A function's graph, the arguments that the caller gives, and the tensors it returns.

    captured: argument -> the value it always has. Tensors are named as in a GraphDef.
    """

    graph: Any
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    captured: Mapping[str, Tensor]

    def find(self, *operations: str) -> list[Any]:
        """The nodes of these operations, in the graph's order."""
        return [node for node in self.graph.node if node.op in operations]

    def enter_calls(self) -> Iterator[FunctionBody]:
        """The functions that are called here, and the first branch of each conditional."""
        for node in self.find(*_CALLS):
            yield self._enter(node.attr["f"].func.name, _data_inputs(node))
        for node in self.find(*_CONDITIONALS):
            yield self._enter(node.attr["then_branch"].func.name, _data_inputs(node)[1:])

    def run(self, feeds: Mapping[str, Tensor], fetches: Sequence[str]) -> list[Tensor]:
        """The tensors `fetches` where those in `feeds` have these values; inside a tf.function.

        A fed tensor need not be an argument: what it is computed from is then not needed.
        """
        capture = tf.compat.v1.get_default_graph().capture
        captured = {f"{name}:0": capture(value) for name, value in self.captured.items()}
        imported: list[Tensor] = tf.graph_util.import_graph_def(
            self.graph, input_map={**captured, **feeds}, return_elements=list(fetches), name="part"
        )
        return imported

    def _enter(self, name: str, inputs: Sequence[str]) -> FunctionBody:
        functions = {each.signature.name: each for each in self.graph.library.function}
        definition = functions[name]
        graph, flat_names = function_def_to_graph_def(definition)
        graph.library.CopyFrom(self.graph.library)
        _remove_custom_gradients(graph)
        names = [argument.name for argument in definition.signature.input_arg]
        values = {
            argument: self.captured[node]
            for argument, given in zip(names, inputs, strict=True)
            if (node := given.partition(":")[0]) in self.captured
        }
        return FunctionBody(
            graph=graph,
            arguments=tuple(argument for argument in names if argument not in values),
            outputs=tuple(
                flat_names[definition.ret[output.name]]
                for output in definition.signature.output_arg
            ),
            captured=values,
        )


def read_function(function: Any) -> FunctionBody:
    """The body of a concrete function (`tf.function(...).get_concrete_function()`)."""
    graph = function.graph.as_graph_def()
    _remove_custom_gradients(graph)
    captured = {
        placeholder.op.name: value
        for value, placeholder in zip(
            function.captured_inputs, function.graph.internal_captures, strict=True
        )
    }
    names = [tensor.op.name for tensor in function.graph.inputs]
    return FunctionBody(
        graph=graph,
        arguments=tuple(name for name in names if name not in captured),
        outputs=tuple(tensor.name for tensor in function.graph.outputs),
        captured=captured,
    )


def _data_inputs(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]


def _remove_custom_gradients(graph: Any) -> None:
    """Have gradients follow the forward operations.

    Gradients that were written out are functions of the process that traced them; what they are
    equal to is computed from the operations themselves.
    """
    for node in graph.node:
        if node.op == "IdentityN" and "_gradient_op_type" in node.attr:
            del node.attr["_gradient_op_type"]
