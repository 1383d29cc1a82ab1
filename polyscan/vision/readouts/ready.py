"""Where the signal of a layer is ready: after the norms, scales and shifts that directly follow it.

A negative scale reverses the order of the images, so a convolution read before it would be read upside down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from polyscan.vision.fields.graph import dims_of
from polyscan.vision.readouts.calls import calls_of, modules_around, output_of
from polyscan.vision.tracing import LAYER_TYPES, asks_shape, function_name, overwritten, readers, shape_of

NEUTRAL = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
DROPOUTS = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d"))
NEUTRAL_NAMES = DROPOUTS | {"contiguous", "clone"}
"""Modules and functions that change no value in eval mode; functions of dropout only if they are told so."""

NORMS: Mapping[type[nn.Module], tuple[str, int]] = {
    nn.modules.batchnorm._BatchNorm: ("batch norm", 1),
    nn.modules.instancenorm._InstanceNorm: ("instance norm", 1),
    nn.GroupNorm: ("group norm", 1),
    nn.LayerNorm: ("layer norm", -1),
    nn.RMSNorm: ("RMS norm", -1),
}
"""Each norm's name, and the axis of its channels."""
NORM_NAMES: Mapping[str, tuple[str, int]] = {
    "batch_norm": ("batch norm", 1),
    "instance_norm": ("instance norm", 1),
    "group_norm": ("group norm", 1),
    "layer_norm": ("layer norm", -1),
    "rms_norm": ("RMS norm", -1),
}
OWN_NORM = re.compile(r"norm|frn|affine|scale", re.IGNORECASE)
"""Class names of norms that are written out as several operations; not those that end in an activation."""
WITH_ACTIVATION = re.compile(r"Act|TLU|ReLU|Tlu")

SUMS = frozenset(("add", "iadd", "add_", "radd"))
DIFFERENCES = frozenset(("sub", "isub", "sub_", "subtract", "subtract_", "rsub"))
PRODUCTS = frozenset(("mul", "imul", "mul_", "rmul", "multiply", "multiply_"))
QUOTIENTS = frozenset(("div", "div_", "truediv", "itruediv", "divide", "divide_", "true_divide"))
SIGNS = frozenset(("neg", "neg_", "negative", "negative_"))
AFFINE = SUMS | DIFFERENCES | PRODUCTS | QUOTIENTS | SIGNS | {"addcmul"}
SWAPS = frozenset(("transpose", "swapaxes", "swapdims"))
MOVES = frozenset(("movedim", "moveaxis"))
TURNS = SWAPS | MOVES | {"permute"}


@dataclass(frozen=True)
class Place:
    """Where a layer is read: the node, the axis of its channels, and a text for users."""

    node: fx.Node
    channels: int
    readout: str = "own output"


@dataclass(frozen=True)
class _Step:
    """The place after one more operation, and whether the signal is ready there rather than passing through."""

    place: Place
    is_ready: bool


class ReadyPlaces:
    """Finds these places in one graph, whose nodes know their shapes.

    Args:
        nodes: the graph's nodes.
        modules: its modules by name.
    """

    def __init__(self, nodes: Sequence[fx.Node], modules: Mapping[str, Any]) -> None:
        self.nodes = nodes
        self.modules = modules
        self.order = {node: number for number, node in enumerate(nodes)}
        self.constants: set[fx.Node] = set()
        for node in nodes:
            sources = node.all_input_nodes
            if node.op == "get_attr" or asks_shape(node) or (sources and self.constants.issuperset(sources)):
                self.constants.add(node)

    def after(self, layer: Place) -> Place:
        """The place after the norms, scales and shifts that directly follow a layer; its own if there are none.

        Operations that keep the order of values (a transposition, a positive factor) are passed, but are no place to
        read at.
        """
        place = here = layer
        others: list[fx.Node] = []  # what reads the memory later that an operation in place has written to
        while True:
            users = sorted({*others, *readers(here.node)}, key=self.order.__getitem__)
            is_alone = len(users) == 1 or (bool(users) and here.node in overwritten(users[0]))
            step = (self._next(here, users[0]) if is_alone else None) or self._own_norm(here, users)
            if step is None:
                return place
            others = users[1:] if is_alone and step.place.node is users[0] else []
            if step.is_ready or (here is place and self.is_neutral(step.place.node)):
                place = step.place
            here = step.place

    def _next(self, here: Place, user: fx.Node) -> _Step | None:
        """The step over the only operation that follows; None if the signal ends there."""
        if self.is_neutral(user):
            return _Step(Place(user, here.channels, here.readout), is_ready=False)
        if user.op != "call_module" and function_name(user) in TURNS:
            return self._turned(here, user)
        if norm := self._norm(here, user):
            return _Step(Place(user, here.channels, f"after {norm}{self.path(user)}"), is_ready=True)
        return self._affine(here, user)

    def is_neutral(self, node: fx.Node) -> bool:
        """Whether a node changes no value."""
        if node.op == "call_module":
            return isinstance(self.modules[str(node.target)], NEUTRAL)
        training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
        return function_name(node) in NEUTRAL_NAMES and not (function_name(node) in DROPOUTS and training)

    def path(self, node: fx.Node) -> str:
        """The module that a node calls, or whose code it belongs to, with a space before it."""
        if node.op == "call_module":
            return f" {node.target}"
        around = list(modules_around(node).values())
        return f" {around[-1]}" if around else ""

    def _turned(self, here: Place, user: fx.Node) -> _Step | None:
        dims = turned_axes(user, len(shape_of(user)))
        others = [axis for axis in dims if axis != here.channels]
        if here.channels not in dims or others != sorted(others):  # rows and columns must stay what they are
            return None
        return _Step(Place(user, dims.index(here.channels), here.readout), is_ready=False)

    def _norm(self, here: Place, user: fx.Node) -> str | None:
        """The name of the norm that a node computes over the channels of its input; None if it computes none."""
        if user.op == "call_module":
            known = [entry for kind, entry in NORMS.items() if isinstance(self.modules[str(user.target)], kind)]
        else:
            is_first = user.args[:1] == (here.node,) or user.kwargs.get("input") is here.node
            known = [NORM_NAMES[function_name(user)]] if is_first and function_name(user) in NORM_NAMES else []
        rank = len(shape_of(user))
        return next((name for name, axis in known if axis % max(rank, 1) == here.channels), None)

    def _affine(self, here: Place, user: fx.Node) -> _Step | None:
        """The place after a multiplication with, or an addition of, constants that do not vary over positions."""
        name = function_name(user)
        if user.op == "call_module" or name not in AFFINE or shape_of(user) != shape_of(here.node):
            return None
        if name in QUOTIENTS and user.args[:1] != (here.node,):
            return None
        others = [source for source in user.all_input_nodes if source is not here.node]
        if not self.constants.issuperset(others) or user.args.count(here.node) != 1:
            return None
        if not all(self._is_by_channel(other, here, len(shape_of(user))) for other in others):
            return None
        if not any(shape_of(other) for other in others) and not _reverses(user, here.node):
            return _Step(Place(user, here.channels, here.readout), is_ready=False)
        return _Step(Place(user, here.channels, f"after {_affine_name(user)}{self.path(user)}"), is_ready=True)

    def _is_by_channel(self, constant: fx.Node, here: Place, rank: int) -> bool:
        """Whether a constant has one value per channel, or one in all."""
        shape = shape_of(constant)
        first = rank - len(shape)
        return all(size == 1 or axis + first == here.channels for axis, size in enumerate(shape))

    def _own_norm(self, here: Place, users: Sequence[fx.Node]) -> _Step | None:
        """The step over a norm that is written out in a module of its own, if nothing else reads its input."""
        around = modules_around(here.node)
        inner = modules_around(users[0]) if users else {}
        for key, path in inner.items():
            kind = users[0].meta["nn_module_stack"][key][1].__name__
            if key not in around and is_own_norm(kind):
                return self._after_call(here, users, path, kind)
        return None

    def _after_call(self, here: Place, users: Sequence[fx.Node], path: str, kind: str) -> _Step | None:
        for _, inside in calls_of(self.nodes, {path}):
            if set(inside).issuperset(users) and self._reads_only(inside, here.node) and not self._has_layer(inside):
                end = output_of(inside)
                is_map = shape_of(end) == shape_of(here.node)
                return _Step(Place(end, here.channels, f"after {kind} {path}"), is_ready=True) if is_map else None
        return None

    def _reads_only(self, inside: Sequence[fx.Node], source: fx.Node) -> bool:
        """Whether a call of a module has no other input than one node and constants."""
        known = {source, *inside, *self.constants}
        return source not in inside and all(known.issuperset(node.all_input_nodes) for node in inside)

    def _has_layer(self, inside: Sequence[fx.Node]) -> bool:
        return any(
            node.op == "call_module" and isinstance(self.modules[str(node.target)], LAYER_TYPES) for node in inside
        )


def is_own_norm(kind: str) -> bool:
    """Whether a class is a norm, or a scale and shift, by its name."""
    return bool(OWN_NORM.search(kind)) and not WITH_ACTIVATION.search(kind)


def _affine_name(user: fx.Node) -> str:
    stack = list(user.meta.get("nn_module_stack", {}).values())
    return "batch norm" if stack and "BatchNorm" in stack[-1][1].__name__ else "scale and shift"


def _reverses(user: fx.Node, source: fx.Node) -> bool:
    """Whether an operation with plain numbers reverses the order of a node's values, or may do so."""
    name = function_name(user)
    is_first = user.args[:1] == (source,)
    alpha = user.kwargs.get("alpha", 1)
    if name in SUMS:
        return not is_first and not _is_positive(alpha)
    if name in DIFFERENCES:
        return is_first == (name == "rsub") or (not is_first and not _is_positive(alpha))
    numbers = [argument for argument in user.args if isinstance(argument, int | float)]
    return name in SIGNS or not numbers or not _is_positive(numbers[0])


def _is_positive(number: object) -> bool:
    return isinstance(number, int | float) and number > 0


def turned_axes(node: fx.Node, rank: int) -> tuple[int, ...]:
    """For each axis of the output of a transposition, the axis of the input; () if it can't be told."""
    name = function_name(node)
    if name == "permute":
        return dims_of(node, rank)
    words = ("dim0", "dim1", "axis0", "axis1") if name in SWAPS else ("source", "destination")
    arguments = [*node.args[1:], *(node.kwargs[word] for word in words if word in node.kwargs)]
    if len(arguments) != 2 or not all(isinstance(axis, int) for axis in arguments):
        return ()
    first, second = (int(axis) % rank for axis in arguments)  # pyright: ignore[reportArgumentType]
    axes = list(range(rank))
    if name in MOVES:
        axes.insert(second, axes.pop(first))
    else:
        axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)
