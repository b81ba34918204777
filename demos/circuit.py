"""A circuit of three gates on numbers, ``f = sigmoid(x y + z)``: each gate's value and its gradient."""

from gates import AddGate, ElementwiseProductGate, Sigmoid
from nngraph import Graph, Input

POINT = {"x": 0.5, "y": -2.0, "z": 1.5}


def main() -> None:
    x, y, z = Input("x"), Input("y"), Input("z")
    p = ElementwiseProductGate()(x, y, name="p")
    s = AddGate()(p, z, name="s")
    f = Sigmoid()(s, name="f")
    graph = Graph(f)

    values = graph.forward(POINT)
    gradients = graph.backward()
    print("f = sigmoid(s), s = p + z, p = x * y\n")
    print("node  computed by                 value      gradient df/dnode")
    for node in graph.nodes:
        gate = type(node.gate).__name__ if node.gate else "input"
        print(f"{node.name:<4}  {gate:<22}  {values[node]:>9.4f}  {gradients[node]:>12.4f}")

    print("\nWhat a gradient says: nudge an input by 0.01 and f changes by about 0.01 times its gradient.")
    for name, value in POINT.items():
        nudged = graph.forward(POINT | {name: value + 0.01})
        print(f"{name} + 0.01: f changes by {nudged[f] - values[f]:+.6f}, foretold {0.01 * gradients[name]:+.6f}")


if __name__ == "__main__":
    main()
