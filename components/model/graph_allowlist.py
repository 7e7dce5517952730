"""Refuses SavedModels that contain operations outside an allowlist.

TensorFlow's operations can read and write any file, call Python and open connections, and loading
a SavedModel can run them. So every operation of the graph, in all its functions, must be one that a
text classifier computes with; unknown operations are refused. Saving and restoring the weights is
allowed only where TensorFlow's own loader does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from components.errors import DataError

ARITHMETIC = (
    "Abs Add AddN AddV2 All Any ArgMax ArgMin BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd "
    "BiasAddV1 Cast Ceil ClipByValue Cos Cumsum Div DivNoNan Einsum Elu Equal Erf Erfc Exp Expm1 "
    "Floor FloorDiv FloorMod Greater GreaterEqual IsFinite IsInf IsNan LeakyRelu Less LessEqual "
    "Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod "
    "Mul MulNoNan Neg NotEqual OneHot Pow Prod RealDiv Reciprocal Relu Relu6 Round Rsqrt Select "
    "SelectV2 Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Square SquaredDifference Sub "
    "Sum Tanh TopKV2 TruncateDiv TruncateMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"
)
SHAPES = (
    "BroadcastArgs BroadcastTo Concat ConcatV2 Const EnsureShape ExpandDims Fill Gather GatherNd "
    "GatherV2 Identity IdentityN InvertPermutation LinSpace MatrixBandPart NoOp OnesLike Pack Pad "
    "PadV2 Placeholder PlaceholderWithDefault PreventGradient Range Rank Reshape ReverseV2 "
    "ScatterNd SegmentSum SequenceMask Shape ShapeN Size Slice Snapshot Split SplitV Squeeze "
    "StopGradient StridedSlice Tile Transpose Unpack UnsortedSegmentSum Where ZerosLike "
    "RaggedGather RaggedRange RaggedTensorToTensor RaggedTensorFromVariant RaggedTensorToVariant"
)
TEXT = (
    "FastBertNormalize FastWordpieceTokenizeWithOffsets NormalizeUTF8 StaticRegexReplace "
    "StringLower"
)
WEIGHTS = (
    "AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather ResourceGatherNd "
    "VarHandleOp VarIsInitializedOp VariableShape"
)
CONTROL = "Assert If StatelessIf PartitionedCall StatefulPartitionedCall"
DROPOUT = (
    "RandomUniform StatelessRandomGetKeyCounter StatelessRandomGetAlg StatelessRandomUniform "
    "StatelessRandomUniformV2"
)
ALLOWED_OPERATIONS = frozenset(
    " ".join((ARITHMETIC, SHAPES, TEXT, WEIGHTS, CONTROL, DROPOUT)).split()
)
SAVER_OPERATIONS = frozenset(
    {
        "MergeV2Checkpoints",
        "RestoreV2",
        "SaveV2",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
    }
)
ALLOWED_OBJECTS = frozenset(
    {
        "_generic_user_object",
        "signature_map",
        "trackable_dict_wrapper",
        "trackable_list_wrapper",
        "trackable_tuple_wrapper",
        "tuple",
    }
)
ALLOWED_CLASSES = frozenset(
    {"", "tf.ResourceVariable", "tf.TrackableConstant", "trackable_list_wrapper"}
)


def check_operations(directory: Path) -> None:
    """DataError naming the first disallowed part of saved_model.pb; nothing of it is loaded."""
    path = directory / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except DecodeError:
        raise DataError(f"{path}: not a saved model; export or pull it again") from None
    if not model.meta_graphs:
        raise DataError(f"{path}: holds no graph; export or pull it again")
    for graph in model.meta_graphs:
        _check_graph(graph, path)


def _check_graph(graph: Any, path: Path) -> None:
    if graph.asset_file_def:
        raise DataError(
            f"{path}: reads the file {graph.asset_file_def[0].filename!r}, "
            "but a served model must be self-contained"
        )
    for node in graph.object_graph_def.nodes:
        if (
            node.WhichOneof("kind") == "user_object"
            and node.user_object.identifier not in ALLOWED_OBJECTS
        ):
            raise DataError(
                f"{path}: an object of type {node.user_object.identifier!r} "
                "is not allowed in a served model"
            )
        if node.registered_name not in ALLOWED_CLASSES or node.registered_saver:
            raise DataError(
                f"{path}: the registered class {node.registered_name or node.registered_saver!r} "
                "is not allowed in a served model"
            )
    savers = _saver_functions(graph)
    for function, nodes in _iterate_functions(graph):
        allowed = (
            ALLOWED_OPERATIONS | SAVER_OPERATIONS if function in savers else ALLOWED_OPERATIONS
        )
        for node in nodes:
            if node.op not in allowed:
                where = f" in {function}" if function else ""
                raise DataError(
                    f"{path}: operation {node.op} ({node.name}{where}) "
                    "is not allowed in a served model"
                )


def _iterate_functions(graph: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    """(name, nodes) of the graph itself, named "", and of every function in its library."""
    yield "", graph.graph_def.node
    for function in graph.graph_def.library.function:
        yield function.signature.name, function.node_def


def _saver_functions(graph: Any) -> set[str]:
    """Functions that only the loader calls, for saving and restoring."""
    saver = graph.saver_def
    entries = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name} - {""}
    called: set[str] = set()
    elsewhere = set(graph.object_graph_def.concrete_functions)
    for function, nodes in _iterate_functions(graph):
        for node in nodes:
            (called if not function and node.name in entries else elsewhere).update(
                _called_functions(node)
            )
    outputs = {
        info.name.partition(":")[0]
        for signature in graph.signature_def.values()
        for info in signature.outputs.values()
    }
    return set() if entries & outputs else called - elsewhere


def _called_functions(node: Any) -> Iterator[str]:
    for attribute in node.attr.values():
        if attribute.WhichOneof("value") == "func":
            yield attribute.func.name
        for function in attribute.list.func:
            yield function.name
