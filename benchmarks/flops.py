"""FLOPs of convolutions and matrix products, counted in the executed operations: a multiply-add is two."""

import math


def of_graph(function, *arguments):
    """Counts the FLOPs in the graph of a `tf.function` for these arguments, gradients included.

    A network that runs twice counts twice, and so does a function that the graph calls twice.
    """
    graph = function.get_concrete_function(*arguments).graph
    return sum(_COUNTED[operation.type](operation) for operation in operations(graph) if operation.type in _COUNTED)


def operations(graph):
    """The operations of a graph and, once per call, of the functions that it calls."""
    for operation in graph.get_operations():
        yield operation
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            yield from operations(graph._get_function(operation.get_attr("f").name).graph)


def of_torch(function):
    """Counts the FLOPs of the convolutions and matrix products that PyTorch runs in `function()`, with gradients."""
    from torch.utils import flop_counter

    with flop_counter.FlopCounterMode(display=False) as counter:
        function()
    counts = counter.get_flop_counts()["Global"]
    of_interest = lambda name: "convolution" in name or name.endswith("mm")
    return sum(number for operation, number in counts.items() if of_interest(str(operation)))


def _convolution(result, kernel):
    """For stride 1 with padding: each entry of the result is an inner product with a slice of the kernel."""
    return 2 * math.prod(result.shape) * math.prod(kernel.shape[:3])


def _matrix_product(operation):
    shared = operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
    return 2 * math.prod(operation.outputs[0].shape) * shared


_COUNTED = {
    "Conv2D": lambda operation: _convolution(operation.outputs[0], operation.inputs[1]),
    "Conv2DBackpropInput": lambda operation: _convolution(operation.inputs[2], operation.inputs[1]),
    "Conv2DBackpropFilter": lambda operation: _convolution(operation.inputs[2], operation.outputs[0]),
    "MatMul": _matrix_product,
}
