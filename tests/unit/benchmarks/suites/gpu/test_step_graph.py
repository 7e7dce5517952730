"""Which operations of a graph count as kernels, and which part of it is the GPU's."""

from __future__ import annotations

import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef

from benchmarks.suites.gpu.step_graph import (
    count_nodes,
    find_device_graph,
    format_shapes,
    launches_kernel,
    list_all_nodes,
)

FLOAT, INT32 = 1, 3


def make_graph(device: str, *operations: tuple[str, int]) -> GraphDef:
    graph = GraphDef()
    for name, kind in operations:
        graph.node.add(op=name, device=device).attr["T"].type = kind
    return graph


@pytest.mark.parametrize(
    ("name", "kind", "launches"),
    [
        pytest.param("MatMul", FLOAT, True, id="product"),
        pytest.param("Mul", INT32, False, id="shape-on-the-host"),
        pytest.param("Reshape", FLOAT, False, id="no-work"),
        pytest.param("ReadVariableOp", FLOAT, False, id="reads-a-variable"),
    ],
)
def test_kernels_are_operations_that_compute_on_the_device(
    name: str, kind: int, launches: bool
) -> None:
    (node,) = make_graph("", (name, kind)).node
    assert launches_kernel(node) == launches


def test_nodes_of_functions_count_and_the_most_frequent_are_first() -> None:
    graph = make_graph("", ("Mul", FLOAT))
    function = graph.library.function.add()
    for name in ("MatMul", "MatMul", "Mul", "MatMul"):
        function.node_def.add(op=name)
    assert list(count_nodes(list_all_nodes(graph)).items()) == [("MatMul", 3), ("Mul", 2)]


def test_the_first_gpus_part_is_counted_where_there_is_one() -> None:
    host = make_graph("/task:0/device:CPU:0", ("Mul", FLOAT))
    first, second = (make_graph(f"/task:0/device:GPU:{index}", ("Mul", 1)) for index in (0, 1))
    assert find_device_graph([GraphDef(), host]) is host
    assert find_device_graph([host, second, first]) is first


def test_xla_has_four_widths_at_most() -> None:
    assert format_shapes().rows == (("128", "16", "4"), ("512", "32", "4"))
