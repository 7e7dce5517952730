"""Parses YAML as configurations need it: no key twice, and every problem with its line."""

from __future__ import annotations

from typing import Any

import yaml

from components.errors import shorten_value

_MAX_INTEGER_BITS = 1023
"""Larger integers cannot be converted to a float."""


class ImpossibleValueError(yaml.MarkedYAMLError):
    """The text is YAML, but one of its values cannot be read, or a key is given twice."""


class ConfigLoader(yaml.SafeLoader):
    """A SafeLoader that raises nothing but YAMLError, with the position of what is wrong.

    Mappings that have a key twice are refused: one of the two values would be lost.
    """

    def get_single_node(self) -> yaml.Node | None:
        """The document's node; ImpossibleValueError if it is nested too deeply."""
        try:
            return super().get_single_node()
        except RecursionError:
            raise ImpossibleValueError(
                problem="values are nested too deeply", problem_mark=self.get_mark()
            ) from None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping's node; ImpossibleValueError for a key that it has twice."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ImpossibleValueError(
                    problem=f"the key {shorten_value(key.value)!r} is given twice, first in line "
                    f"{lines[key.value]}",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The node's value; ImpossibleValueError for one that Python has no value for."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, ArithmeticError) as error:  # dates and numbers
            raise _describe_impossible(node, str(error).partition(";")[0]) from None
        except (LookupError, AttributeError):
            raise _describe_impossible(node, f"it does not fit its tag {node.tag}") from None
        except RecursionError:
            raise _describe_impossible(node, "nested too deeply") from None
        if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
            raise _describe_impossible(node, "the number is too large")
        return value


def _describe_impossible(node: yaml.Node, reason: str) -> ImpossibleValueError:
    given = repr(shorten_value(node.value)) if isinstance(node, yaml.ScalarNode) else "the value"
    return ImpossibleValueError(
        problem=f"{given} is no possible value: {reason}", problem_mark=node.start_mark
    )
