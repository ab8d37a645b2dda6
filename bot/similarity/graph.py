"""The sentence encoder as an ONNX graph: BERT, mean pooling and normalisation, written from its tensors.

The layers are those of Devlin et al., "BERT" (arXiv 1810.04805), section 3, without dropout; pooling and
normalisation are modules 1 and 2 of sentence-transformers' `modules.json`. Imports onnx, so import it only to build.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""The pair that onnx 1.12 introduced: LayerNormalization exists, and every onnxruntime since 1.12 reads it."""

LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
"""`config.json` of the model: num_hidden_layers, num_attention_heads, hidden_size, layer_norm_eps."""

MASKED = -1e9
"""Added to the attention score of padding: its softmax is exactly 0 in float32."""

HIDDEN = "last_hidden_state"
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "sentence_embedding"

Tensors = Mapping[str, npt.NDArray[np.float32]]


class Graph:
    """Nodes and initializers in the order in which they were added; every method returns its result's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operator with one output."""
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: npt.ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """Add a tensor."""
        name = f"c{len(self.initializers)}"
        array = np.ascontiguousarray(np.asarray(value, kind))
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of int64: shapes, axes, bounds."""
        return self.constant(values, np.int64)


def build(tensors: Tensors) -> bytes:
    """The serialised model: `input_ids` and `attention_mask`, int64 (n, tokens), to unit vectors, float32 (n, 384)."""
    graph = Graph()
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = attention_bias(graph, mask)
    hidden = embed(graph, tensors)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        hidden = attend(graph, tensors, prefix, hidden, bias)
        hidden = feed_forward(graph, tensors, prefix, hidden, HIDDEN if layer == LAYERS - 1 else "")
    pool(graph, hidden, mask)
    return serialise(graph)


def embed(graph: Graph, tensors: Tensors) -> str:
    """Word, position and segment vectors, summed and normalised; the segment is always the first."""
    words = graph.constant(tensors["embeddings.word_embeddings.weight"])
    table = (
        tensors["embeddings.position_embeddings.weight"]
        + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    # The position table is cut by Slice: onnxruntime rewrites Shape, Gather and Range into an invalid Slice.
    length = graph.node("Slice", graph.node("Shape", "input_ids"), *(graph.integers(i) for i in (1, 2, 0)))
    positions = graph.node("Slice", graph.constant(table), graph.integers(0), length, graph.integers(0))
    total = graph.node("Add", graph.node("Gather", words, "input_ids"), positions)
    return normalise(graph, tensors, "embeddings.LayerNorm.", total)


def attention_bias(graph: Graph, mask: str) -> str:
    """0 for a token, MASKED for padding, shaped (n, 1, 1, tokens) to be added to every head's scores."""
    padding = graph.node("Sub", graph.constant(1.0), mask)
    return graph.node("Unsqueeze", graph.node("Mul", padding, graph.constant(MASKED)), graph.integers(1, 2))


def attend(graph: Graph, tensors: Tensors, prefix: str, hidden: str, bias: str) -> str:
    """Self-attention with its residual connection."""
    scale = 1 / math.sqrt(HEAD_WIDTH)
    query = split_heads(
        graph, dense(graph, tensors, f"{prefix}attention.self.query.", hidden, scale), (0, 2, 1, 3)
    )
    key = split_heads(graph, dense(graph, tensors, f"{prefix}attention.self.key.", hidden), (0, 2, 3, 1))
    value = split_heads(graph, dense(graph, tensors, f"{prefix}attention.self.value.", hidden), (0, 2, 1, 3))
    scores = graph.node("Add", graph.node("MatMul", query, key), bias)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    joined = graph.node(
        "Reshape", graph.node("Transpose", mixed, perm=(0, 2, 1, 3)), graph.integers(0, 0, WIDTH)
    )
    out = dense(graph, tensors, f"{prefix}attention.output.dense.", joined)
    return normalise(graph, tensors, f"{prefix}attention.output.LayerNorm.", graph.node("Add", out, hidden))


def feed_forward(graph: Graph, tensors: Tensors, prefix: str, hidden: str, output: str) -> str:
    """Two dense layers around the exact Gelu, with their residual connection."""
    inner = dense(graph, tensors, f"{prefix}intermediate.dense.", hidden)
    error = graph.node("Erf", graph.node("Div", inner, graph.constant(math.sqrt(2))))
    gelu = graph.node(
        "Mul", graph.node("Mul", inner, graph.node("Add", error, graph.constant(1.0))), graph.constant(0.5)
    )
    out = dense(graph, tensors, f"{prefix}output.dense.", gelu)
    return normalise(graph, tensors, f"{prefix}output.LayerNorm.", graph.node("Add", out, hidden), output)


def pool(graph: Graph, hidden: str, mask: str) -> None:
    """The mean of the tokens' vectors without padding, scaled to length 1.

    The mean's divisor cancels in the scaling, so the sum is scaled directly.
    """
    masked = graph.node("Mul", hidden, graph.node("Unsqueeze", mask, graph.integers(2)))
    total = graph.node("ReduceSum", masked, graph.integers(1), keepdims=0)
    graph.node("LpNormalization", total, output=OUTPUT, axis=1, p=2)


def dense(graph: Graph, tensors: Tensors, prefix: str, hidden: str, scale: float = 1.0) -> str:
    """A fully connected layer, its result multiplied by `scale`."""
    weight = graph.constant(tensors[f"{prefix}weight"].T * np.float32(scale))
    return graph.node(
        "Add",
        graph.node("MatMul", hidden, weight),
        graph.constant(tensors[f"{prefix}bias"] * np.float32(scale)),
    )


def normalise(graph: Graph, tensors: Tensors, prefix: str, hidden: str, output: str = "") -> str:
    """Layer normalisation."""
    parameters = (graph.constant(tensors[f"{prefix}{part}"]) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", hidden, *parameters, output=output, axis=-1, epsilon=EPSILON)


def split_heads(graph: Graph, hidden: str, order: tuple[int, int, int, int]) -> str:
    """(n, tokens, width) as (n, tokens, heads, head width), its axes in the given order."""
    shaped = graph.node("Reshape", hidden, graph.integers(0, 0, HEADS, HEAD_WIDTH))
    return graph.node("Transpose", shaped, perm=order)


def serialise(graph: Graph) -> bytes:
    """The checked model as bytes, the same for the same tensors."""
    tokens = ("n", "tokens")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ("n", WIDTH))]
    body = helper.make_graph(graph.nodes, "sentence-encoder", inputs, outputs, graph.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="deja-view"
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
