"""The nodes of a graph as JSON and arrays, and back, in the graph's order; no recursion."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.contract import Gate, check_count
from nngraph.architecture import Dropout
from nngraph.graph import Graph
from nngraph.nodes import Constant, Input, Node, Parameter, Random, Running
from nngraph.storage.decoding import Decoder
from nngraph.storage.encoding import Encoder


def encode_graph(encoder: Encoder, graph: Graph) -> dict[str, Any]:
    """Return the nodes, the last of which is the output, and the gates, of which several nodes may have one."""
    gates: list[Any] = []
    numbers: dict[int, int] = {}
    nodes = []
    for node, name in zip(graph.nodes, graph.names, strict=True):
        where = f"node {name!r}"
        if node.gate is not None and id(node.gate) not in numbers:
            numbers[id(node.gate)] = len(gates)
            gates.append(encoder.gate(node.gate, where))
        record: dict[str, Any] = {"name": node.name}
        if node.gate is not None:
            record["gate"] = numbers[id(node.gate)]
        elif isinstance(node, Input):
            record |= {"kind": "Input", "integers": node.dtype is int}
        elif isinstance(node, Random):
            record |= {"kind": "Random", "like": graph.position(node.like), "value": node.value}
            record |= _draw(encoder, node.draw, where)
        elif isinstance(node, Running):
            record |= {"kind": "Running", "momentum": node.momentum, "unbiased": node.unbiased}
        elif isinstance(node, Constant):
            record |= {"kind": "Constant", "is_number": node.is_number}
        else:
            record["kind"] = "Parameter"
        if isinstance(node, Parameter | Constant | Running):
            record["value"] = encoder.array(node.value, where, name)
        if node.inputs:
            record["inputs"] = [graph.position(x) for x in node.inputs]
        nodes.append(record)
    return {"gates": gates, "nodes": nodes}


def _draw(encoder: Encoder, draw: Any, where: str) -> dict[str, Any]:
    layer = getattr(draw, "__self__", None)
    if type(layer) is Dropout and getattr(draw, "__func__", None) is Dropout.draw:
        return {"dropout": encoder.value(layer.rate, where)}
    return {"draw": encoder.function(draw, where)}


def decode_graph(decoder: Decoder, record: Any) -> Node:
    """Return the output node of what `encode_graph` returned."""
    record = decoder.fields(record, "gates", "nodes")
    if not isinstance(record["gates"], list) or not isinstance(record["nodes"], list) or not record["nodes"]:
        raise decoder.bad("expected lists of gates and nodes")
    gates = [decoder.gate(one) for one in record["gates"]]
    nodes: list[Node] = []
    likes: list[tuple[Random, Any]] = []
    for one in record["nodes"]:
        node = _node(decoder, one, nodes, gates)
        if isinstance(node, Random):
            likes.append((node, one["like"]))
        nodes.append(node)
    for random, position in likes:
        random.like = _at(decoder, nodes, position)
    return nodes[-1]


def _node(decoder: Decoder, record: Any, nodes: list[Node], gates: list[Gate]) -> Node:
    record = decoder.fields(record, "name")
    name, given = record["name"], record.get("inputs", [])
    if not isinstance(given, list):
        raise decoder.bad("a node's inputs must be a list")
    # A node comes after its inputs: so there can be no circle.
    inputs = tuple(_at(decoder, nodes, position) for position in given)
    if "gate" in record:
        gate = _at(decoder, gates, record["gate"])
        check_count(gate, len(inputs))
        return Node(gate, inputs, name)
    kind = record.get("kind")
    if kind == "Input":
        return Input(name, int if _flag(decoder, record, "integers") else None)
    if kind == "Parameter":
        return Parameter(decoder.array(record.get("value")), name)
    if kind == "Constant":
        constant = Constant(decoder.array(record.get("value")), name)
        constant.is_number = _flag(decoder, record, "is_number")
        return constant
    if kind == "Random":
        record = decoder.fields(record, "like", "value")
        # Whose shape it has may come later.
        return Random(_drawn(decoder, record), Node(None, (), None), decoder.value(record["value"]), name)
    if kind == "Running" and len(inputs) == 1:
        value = decoder.array(record.get("value"))
        record = decoder.fields(record, "momentum")
        unbiased = _flag(decoder, record, "unbiased")
        node = Running(inputs[0], np.zeros_like(value), record["momentum"], unbiased=unbiased, name=name)
        # As it was, also where a training that diverged has left no finite number.
        node.value = value
        return node
    raise decoder.bad(f"there is no kind of node {str(kind)[:100]!r} with {len(inputs)} inputs")


def _drawn(decoder: Decoder, record: dict[str, Any]) -> Any:
    if "dropout" in record:
        return Dropout(decoder.value(record["dropout"])).draw
    return decoder.function(record.get("draw"))


def _at(decoder: Decoder, things: list[Any], position: Any) -> Any:
    if type(position) is not int or not 0 <= position < len(things):
        raise decoder.bad(f"there is no number {str(position)[:100]} of {len(things)}")
    return things[position]


def _flag(decoder: Decoder, record: dict[str, Any], name: str) -> bool:
    if not isinstance(record.get(name), bool):
        raise decoder.bad(f"{name} must be true or false")
    flag: bool = record[name]
    return flag
