"""What a training step launches: the operations of its graph, and how often it is traced.

    python -m benchmarks.suites.gpu.step_graph MODEL PRECISION ROWS LENGTH

prints the counts as one line of JSON. It needs no GPU: TensorFlow builds the same graph for CPUs,
up to a few fused operations.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.processes import Devices, Process, run_processes
from benchmarks.suites.gpu.settings import GpuSettings, TrainingSetup
from components.config.schema import TrainConfig
from components.train.loop.batch_plan import select_length_buckets, select_train_buckets

TITLE = "The step's graph"
ROWS = 4
MAX_LENGTHS = (128, 512)
SHOWN_OPERATIONS = 12
NO_KERNEL = frozenset(
    {
        "_Arg",
        "_Retval",
        "_Recv",
        "_Send",
        "_HostRecv",
        "_HostSend",
        "Assert",
        "Bitcast",
        "BroadcastGradientArgs",
        "Const",
        "Enter",
        "Exit",
        "ExpandDims",
        "Identity",
        "LoopCond",
        "Merge",
        "NextIteration",
        "NoOp",
        "Placeholder",
        "ReadVariableOp",
        "Reshape",
        "Shape",
        "ShapeN",
        "Size",
        "Squeeze",
        "StopGradient",
        "Switch",
        "VarHandleOp",
    }
)
"""Operations that only pass a tensor on, name it, or compute shapes on the host."""
HOST_TYPE = 3
"""DT_INT32: TensorFlow computes integers of 32 bits, which are mostly shapes, on the host."""


@dataclass(frozen=True)
class GraphCounts:
    """Operations by type: of the traced graph, of the optimized one, and those with a kernel.

    `device` has the optimized graph; `copies` are its tensors for other devices, for which the
    host waits or is waited for. `traces` after two batches of different shapes.
    """

    traced: dict[str, int]
    optimized: dict[str, int]
    kernels: dict[str, int]
    device: str
    copies: int
    traces: int


def launches_kernel(node: Any) -> bool:
    """Whether an operation of a device's graph (NodeDef) launches a kernel on it; an estimate."""
    return node.op not in NO_KERNEL and node.attr["T"].type != HOST_TYPE


def count_nodes(nodes: Iterable[Any]) -> dict[str, int]:
    """The number of nodes (NodeDef) of each type, the most frequent ones first."""
    return dict(Counter(node.op for node in nodes).most_common())


def list_all_nodes(graph: Any) -> list[Any]:
    """The nodes of a graph (GraphDef) and of the functions that it calls."""
    return [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]


def find_device_graph(partitions: Iterable[Any]) -> Any:
    """The part of an optimized graph for the first GPU; without one, that for the CPU."""
    graphs = [graph for graph in partitions if graph.node]
    of_gpus = [graph for graph in graphs if "GPU:0" in graph.node[0].device]
    return (of_gpus or graphs)[0]


def measure_graph(model: str, precision: str, rows: int, length: int) -> GraphCounts:
    """Run a worker's step twice, with different shapes, and count what TensorFlow made of it."""
    from benchmarks.baselines.single_step import build_single_step

    # isort: split
    from tensorflow.python.eager import context

    from components.config.schema import ModelConfig

    train = TrainConfig.model_validate({"precision": precision})
    step = build_single_step(ModelConfig(encoder=model), train, rows, length)
    batch = step.make_batch(rows, length)
    context.enable_run_metadata()
    step.run(batch)
    graphs = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    step.run(step.make_batch(rows - 1, length // 2))
    largest = max(graphs, key=lambda each: len(list_all_nodes(each.pre_optimization_graph)))
    device_graph = find_device_graph(largest.partition_graphs)
    nodes = list_all_nodes(device_graph)
    return GraphCounts(
        traced=count_nodes(list_all_nodes(largest.pre_optimization_graph)),
        optimized=count_nodes(nodes),
        kernels=count_nodes(node for node in nodes if launches_kernel(node)),
        device=device_graph.node[0].device,
        copies=sum(node.op in ("_Send", "_HostSend") for node in nodes),
        traces=step.train_step._run_on_replicas.experimental_get_tracing_count(),
    )


def run_section(settings: GpuSettings, devices: Devices, workdir: Path) -> Section:
    """Count the operations of every step, and the shapes that XLA would compile."""
    counted = [(setup, _run_count(setup, devices, workdir)) for setup in settings.graph_setups]
    figures = {
        f"{setup}_{name}": float(value)
        for setup, counts in counted
        for name, value in (
            ("nodes", sum(counts.traced.values())),
            ("kernels", sum(counts.kernels.values())),
            ("traces", counts.traces),
        )
    }
    columns = (
        "step",
        "operations as traced",
        "after TensorFlow's optimization",
        "of these with a kernel",
        "copies to other devices",
        "traces for two shapes",
    )
    return Section(
        BenchmarkReport(
            TITLE,
            figures,
            (
                Table(
                    "Operations of one step on one device",
                    columns,
                    tuple(_format_counts(setup, counts) for setup, counts in counted),
                ),
                *(_format_operations(setup, counts) for setup, counts in counted),
                format_shapes(),
            ),
            (
                "With a kernel: all but those that pass a tensor on or compute shapes on the host; "
                "an estimate of the launches per step.",
            ),
        ),
        tuple(
            Check(
                f"{setup}: traced once for all shapes",
                counts.traces == 1,
                f"{counts.traces} traces",
            )
            for setup, counts in counted
        ),
    )


def format_shapes() -> Table:
    """The widths to which training batches are padded: XLA compiles the step once for each."""
    rows = []
    for length in MAX_LENGTHS:
        buckets = select_length_buckets(TrainConfig(), length)
        with_xla = select_train_buckets(TrainConfig(xla=True), buckets)
        rows.append((str(length), str(len(buckets)), str(len(with_xla))))
    columns = ("model.max_length", "widths without XLA", "widths with XLA")
    return Table("Widths of training batches with the default options", columns, tuple(rows))


def _run_count(setup: TrainingSetup, devices: Devices, workdir: Path) -> GraphCounts:
    (output,) = run_processes(
        Process(
            "benchmarks.suites.gpu.step_graph",
            [setup.model, setup.precision, ROWS, MAX_LENGTHS[0]],
            devices.build_variables(),
            workdir / "graph" / f"{setup.model}-{setup.precision}.log",
        )
    )
    return GraphCounts(**json.loads(output.splitlines()[-1]))


def _format_counts(setup: TrainingSetup, counts: GraphCounts) -> tuple[str, ...]:
    totals = (sum(found.values()) for found in (counts.traced, counts.optimized, counts.kernels))
    return (
        f"{setup.model}, {setup.precision}",
        *(f"{total:,}" for total in totals),
        str(counts.copies),
        str(counts.traces),
    )


def _format_operations(setup: TrainingSetup, counts: GraphCounts) -> Table:
    shown = list(counts.kernels.items())[:SHOWN_OPERATIONS]
    rest = sum(counts.kernels.values()) - sum(number for _, number in shown)
    rows = [*((name, str(number)) for name, number in shown), ("others", str(rest))]
    device = counts.device.rpartition("device:")[2]
    return Table(
        f"Operations with a kernel, {setup.model} in {setup.precision}, on {device}",
        ("operation", "per step"),
        tuple(rows),
    )


def _print_counts(model: str, precision: str, rows: str, length: str) -> None:
    counts = measure_graph(model, precision, int(rows), int(length))
    print(json.dumps(counts.__dict__))
    sys.stdout.flush()


if __name__ == "__main__":
    _print_counts(*sys.argv[1:])
