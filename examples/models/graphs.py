"""ONNX files from the text of a graph and its trained constants.

Files use opset 17 and IR 8 (ONNX 1.12), so that runtimes from 2022 on load them, unless they read text (opset 20, IR 9,
runtimes from 2024 on); no external data, no custom ops.
Serialisation is deterministic: same graph, same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sklearn.ensemble import RandomForestClassifier

IR_VERSION = 8
OPSET = 17
ML_OPSET = 3
CLEARANCE = 2e-5
"""In units of the forest's features, which are standard deviations."""


def onnx_file(
    text: str,
    constants: Mapping[str, NDArray[Any]],
    *,
    name: str,
    version: str,
    tier: str,
    nodes: Sequence[onnx.NodeProto] = (),
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
) -> bytes:
    """The bytes of a checked model.

    ``text`` is a graph in ONNX's textual syntax; ``constants`` become its initializers with their own dtypes;
    ``nodes`` are put in front of the first node that needs one of their outputs (for operators whose attributes are
    too long for text). Raises onnx.checker.ValidationError where the graph is not valid.
    """
    domains = [f'"" : {opset}'] + ([f'"ai.onnx.ml" : {ML_OPSET}'] if any(node.domain for node in nodes) else [])
    model = parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{', '.join(domains)}]>\n{text}")
    graph = model.graph
    for node in nodes:
        user = next(place for place, other in enumerate(graph.node) if set(other.input) & set(node.output))
        graph.node.insert(user, node)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(constants[key]), key) for key in sorted(constants))
    model.producer_name = "trimtab examples"
    helper.set_model_props(model, {"model": name, "version": version, "tier": tier})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def forest_node(forest: RandomForestClassifier, source: str, output: str) -> onnx.NodeProto:
    """A TreeEnsembleRegressor that gives ``forest``'s probability of class 1, shape [N, 1].

    Thresholds lie half way between two training values, so a patient's value can be exactly on one (the data have few
    decimals), and which side it falls on would then hang on the last bit of a float32 product, which differs from
    processor to processor. Each threshold is therefore raised by ``CLEARANCE``, far more than such rounding and far less
    than the data resolve: a value on the threshold goes left everywhere, as in exact arithmetic.
    """
    nodes: dict[str, list[Any]] = {
        "treeids": [], "nodeids": [], "featureids": [], "modes": [], "values": [], "truenodeids": [], "falsenodeids": [],
    }  # fmt: skip
    targets: dict[str, list[Any]] = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        for place in range(tree.node_count):
            leaf = tree.children_left[place] < 0
            nodes["treeids"].append(number)
            nodes["nodeids"].append(place)
            nodes["featureids"].append(0 if leaf else int(tree.feature[place]))
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["values"].append(0.0 if leaf else float(tree.threshold[place]) + CLEARANCE)
            nodes["truenodeids"].append(0 if leaf else int(tree.children_left[place]))
            nodes["falsenodeids"].append(0 if leaf else int(tree.children_right[place]))
            if leaf:
                counts = tree.value[place][0]
                targets["treeids"].append(number)
                targets["nodeids"].append(place)
                targets["ids"].append(0)
                targets["weights"].append(float(counts[1] / counts.sum() / len(forest.estimators_)))
    node = helper.make_node("TreeEnsembleRegressor", [source], [output], domain="ai.onnx.ml", n_targets=1)
    for prefix, table in (("nodes", nodes), ("target", targets)):
        node.attribute.extend(helper.make_attribute(f"{prefix}_{key}", values) for key, values in table.items())
    return node
