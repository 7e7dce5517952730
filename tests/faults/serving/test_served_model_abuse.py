"""Saved models with operations that read, write or run something are refused before loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.errors import DataError
from components.model.graph_allowlist import check_operations
from components.model.serving_model import ServingModel, load_scorer, save_serving_model
from tests.support.releases.word_rule import WordRule
from tests.support.training.tiny_checkpoint import CLASSES, VOCABULARY


def read_file(text: Any, target: Path) -> Any:
    return tf.io.read_file("/etc/hostname") + text


def write_file(text: Any, target: Path) -> Any:
    with tf.control_dependencies([tf.io.write_file(str(target), "evil")]):
        return tf.identity(text)


def python(text: Any, target: Path) -> Any:
    return tf.ensure_shape(tf.py_function(lambda value: value, [text], tf.string), [None])


def numpy_python(text: Any, target: Path) -> Any:
    return tf.ensure_shape(tf.numpy_function(lambda value: value, [text], tf.string), [None])


def list_files(text: Any, target: Path) -> Any:
    return tf.io.matching_files("/etc/*")[:1] + text


def print_to_file(text: Any, target: Path) -> Any:
    tf.print("evil", output_stream=f"file://{target}")
    return tf.identity(text)


def in_a_branch(text: Any, target: Path) -> Any:
    return tf.cond(tf.size(text) > 1000, lambda: write_file(text, target), lambda: text)


def in_a_nested_function(text: Any, target: Path) -> Any:
    inner = tf.function(lambda value: tf.function(lambda v: read_file(v, target))(value))
    return inner(text)


def save_weights(text: Any, target: Path) -> Any:
    with tf.control_dependencies(
        [
            tf.raw_ops.SaveV2(
                prefix=str(target), tensor_names=["x"], shape_and_slices=[""], tensors=[text]
            )
        ]
    ):
        return tf.identity(text)


def restore_weights(text: Any, target: Path) -> Any:
    return tf.ensure_shape(
        tf.raw_ops.RestoreV2(
            prefix=str(target), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.string]
        )[0],
        [None],
    )


def in_a_loop(text: Any, target: Path) -> Any:
    return tf.while_loop(
        lambda value: tf.size(value) < 0,
        lambda value: (read_file(value, target),),
        (text,),
        shape_invariants=(tf.TensorShape([None]),),
    )[0]


@pytest.mark.parametrize(
    ("attack", "operation"),
    [
        pytest.param(read_file, "ReadFile", id="read-file"),
        pytest.param(write_file, "WriteFile", id="write-file"),
        pytest.param(python, "EagerPyFunc", id="python"),
        pytest.param(numpy_python, "PyFunc", id="numpy-python"),
        pytest.param(list_files, "MatchingFiles", id="list-files"),
        pytest.param(print_to_file, "StringFormat|PrintV2", id="print-to-file"),
        pytest.param(in_a_branch, "WriteFile", id="branch"),
        pytest.param(in_a_nested_function, "ReadFile", id="nested"),
        pytest.param(in_a_loop, "While|StatelessWhile|ReadFile", id="loop"),
        pytest.param(save_weights, "SaveV2", id="save"),
        pytest.param(restore_weights, "RestoreV2", id="restore"),
    ],
)
def test_operations_outside_the_allowlist_are_refused(
    attack: Callable[[Any, Path], Any],
    operation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fault A3."""
    target = tmp_path / "written"
    rule = ServingModel(WordRule({}), VOCABULARY, CLASSES, 20)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(text: Any) -> dict[str, Any]:
        return dict(rule.classify(attack(text, target)))

    rule.attacked = classify
    tf.saved_model.save(rule, str(tmp_path / "model"), signatures={"serving_default": classify})
    monkeypatch.setattr(
        tf.saved_model, "load", lambda path: pytest.fail("loaded before it was checked")
    )
    with pytest.raises(DataError, match=operation):
        load_scorer(tmp_path / "model")
    assert not target.exists()


def test_a_table_that_is_read_from_a_file_is_refused(tmp_path: Path) -> None:
    """Fault A3."""
    (tmp_path / "table.txt").write_text("a\nb\n")
    index = tf.lookup.TextFileIndex
    source = tf.lookup.TextFileInitializer(
        str(tmp_path / "table.txt"), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(source, -1)
    module.read = tf.function(
        lambda text: module.table.lookup(text),
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.read)
    with pytest.raises(DataError, match="reads the file"):
        load_scorer(tmp_path / "model")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_serving_model(ServingModel(WordRule({}), VOCABULARY, CLASSES, 20), tmp_path / "model")
    return tmp_path / "model"


def change(model: Path, edit: Callable[[Any], None]) -> None:
    value = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    edit(value)
    (model / "saved_model.pb").write_bytes(value.SerializeToString())


def saver_function(value: Any, operation: str) -> Any:
    return next(
        f
        for f in value.meta_graphs[0].graph_def.library.function
        if any(node.op == operation for node in f.node_def)
    )


def test_the_models_own_saver_is_allowed(model: Path) -> None:
    """Fault A3."""
    value = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    assert saver_function(value, "SaveV2").signature.name
    check_operations(model)


@pytest.mark.parametrize("operation", ["SaveV2", "RestoreV2"])
def test_the_saver_called_from_another_function_is_refused(operation: str, model: Path) -> None:
    """Fault A3."""

    def call_it(value: Any) -> None:
        saver = saver_function(value, operation).signature.name
        other = next(
            f
            for f in value.meta_graphs[0].graph_def.library.function
            if f.signature.name.startswith("__inference_classify")
        )
        node = other.node_def.add(name="innocent", op="StatefulPartitionedCall")
        node.attr["f"].func.name = saver

    change(model, call_it)
    with pytest.raises(DataError, match="is not allowed in a served model"):
        check_operations(model)


def test_the_saver_as_the_signature_is_refused(model: Path) -> None:
    """Fault A3."""

    def serve_it(value: Any) -> None:
        graph = value.meta_graphs[0]
        graph.signature_def["serving_default"].outputs[
            "scores"
        ].name = graph.saver_def.save_tensor_name

    change(model, serve_it)
    with pytest.raises(DataError, match="not allowed in a served model"):
        check_operations(model)


def test_the_saver_as_a_python_function_is_refused(model: Path) -> None:
    """Fault A3."""

    def name_it(value: Any) -> None:
        graph = value.meta_graphs[0]
        graph.object_graph_def.concrete_functions[
            saver_function(value, "SaveV2").signature.name
        ].canonicalized_input_signature.SetInParent()

    change(model, name_it)
    with pytest.raises(DataError, match="not allowed in a served model"):
        check_operations(model)


def test_a_function_called_by_its_name_is_refused(model: Path) -> None:
    """Fault A3."""

    def call_by_name(value: Any) -> None:
        graph = value.meta_graphs[0].graph_def
        graph.node.add(name="innocent", op=graph.library.function[0].signature.name)

    change(model, call_by_name)
    with pytest.raises(DataError, match="innocent"):
        check_operations(model)


@pytest.mark.parametrize("where", ["first", "second"])
def test_every_graph_in_the_file_is_checked(where: str, model: Path) -> None:
    """Fault A3."""

    def add_graph(value: Any) -> None:
        if where == "second":
            value.meta_graphs.add().CopyFrom(value.meta_graphs[0])
        value.meta_graphs[-1].graph_def.node.add(name="hidden", op="ReadFile")

    change(model, add_graph)
    with pytest.raises(DataError, match=r"ReadFile \(hidden\)"):
        check_operations(model)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda graph: graph.asset_file_def.add(filename="../../etc/passwd"),
            "reads the file",
            id="asset",
        ),
        pytest.param(
            lambda graph: graph.object_graph_def.nodes.add(registered_name="Evil.Class"),
            "registered class 'Evil.Class'",
            id="registered-class",
        ),
        pytest.param(
            lambda graph: graph.object_graph_def.nodes.add(registered_saver="evil"),
            "registered class 'evil'",
            id="registered-saver",
        ),
        pytest.param(
            lambda graph: setattr(
                graph.object_graph_def.nodes.add().user_object, "identifier", "_tf_keras_layer"
            ),
            "object of type '_tf_keras_layer'",
            id="keras-object",
        ),
    ],
)
def test_objects_that_run_code_when_loaded_are_refused(
    edit: Callable[[Any], None], message: str, model: Path
) -> None:
    """Fault A3."""
    change(model, lambda value: edit(value.meta_graphs[0]))
    with pytest.raises(DataError, match=message):
        check_operations(model)
