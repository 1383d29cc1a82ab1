"""Where units are read, and reading many layers in one forward pass.

A unit is read where its convolution's signal is ready: behind the batch norm that follows it and before the ReLU; a
block behind its addition and before its last ReLU. `torch.fx` finds the place and the forward pass is cut behind the
deepest one. A network that can't be traced is read at its modules' own outputs, and every layer says so.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from polyscan.errors import ModelError
from polyscan.vision.fields import Field, fields_of
from polyscan.vision.networks import Network

Sink = Callable[[int, Float[Tensor, "b u y x"]], None]
"""Is handed the index of a read point and its units' maps, while the pass stands there; must not keep the maps."""

NORMS = (nn.modules.batchnorm._BatchNorm,)
NEUTRAL = (nn.Identity, nn.Dropout, nn.Dropout2d)
RELUS = (nn.ReLU, nn.ReLU6)
RELU_NAMES = frozenset(("relu", "relu_", "relu6"))
LAYER_TYPES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class ReadOut(Protocol):
    """What is read from a layer's map: its channels, or other numbers made of them position by position."""

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """The units' maps."""
        ...


class Channels:
    """The layer's own channels."""

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The maps themselves."""
        return maps


@dataclass(frozen=True)
class Directions:
    """Linear read-outs: one more 1x1 convolution, each unit a direction in the layer's activation space.

    Args:
        weights: one row per unit.
        bias: added to each.
    """

    weights: Float[Tensor, "u c"]
    bias: Float[Tensor, " u"]

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """Their maps."""
        return nn.functional.conv2d(maps, self.weights[:, :, None, None], self.bias)


@dataclass(frozen=True)
class ReadPoint:
    """One layer of a network, ready to be read.

    Args:
        layer: its name; `#2` behind it for a shared module's second call.
        depth: place in the forward order of the chosen layers.
        n_channels: its channels.
        map_size: height and width of its activation map; (1, 1) where it has no space.
        field: its theoretical receptive field; None for the whole image.
        read_out: where it is read, in words.
        relu_follows: whether every next operation is a ReLU.
        node: where it is in the graph; the module's name where the network was not traced.
        channels_last: whether the channels are the last axis there, as behind a linear layer.
    """

    layer: str
    depth: int
    n_channels: int
    map_size: tuple[int, int]
    field: Field
    read_out: str
    relu_follows: bool
    node: str
    channels_last: bool


def as_map(value: Tensor, *, channels_last: bool) -> Float[Tensor, "b c y x"]:
    """A layer's output as maps: vectors have one position, tokens one column of them."""
    if value.ndim == 4:
        return value.permute(0, 3, 1, 2) if channels_last else value
    if value.ndim == 3:
        return value.permute(0, 2, 1).unsqueeze(-1)
    return value.reshape(value.shape[0], -1, 1, 1)


class _Tap(nn.Module):
    """Stands in the graph behind a read point; what an in-place ReLU does later can't spoil what it has seen."""

    def __init__(self, index: int, *, channels_last: bool) -> None:
        super().__init__()
        self.index = index
        self.channels_last = channels_last
        self.sink: Sink | None = None

    def forward(self, value: Tensor) -> None:
        if self.sink is not None:
            self.sink(self.index, as_map(value, channels_last=self.channels_last))


class Reader:
    """The chosen layers of a network, all read in one forward pass that ends at the deepest of them.

    Args:
        network: what is read.
        layers: `all`, `blocks`, a glob, a name, or a list of these.

    Raises:
        ModelError: if a name fits no layer; the nearest ones are named.
    """

    def __init__(self, network: Network, layers: str | Sequence[str]) -> None:
        self.network = network
        self.is_traced = True
        side, channels = network.preprocessing.input_px, network.preprocessing.channels
        self.example = torch.zeros(1, channels, side, side, device=network.device).contiguous(
            memory_format=torch.channels_last
        )
        self.untraced_because = ""
        try:
            self._graph = traced(network.module)
            ShapeProp(self._graph).propagate(self.example)
        except Exception as error:  # whatever tracing stumbles over, the modules can still be read
            self.is_traced = False
            self.untraced_because = f"{type(error).__name__}: {error}".splitlines()[0]
        blocks = blocks_of(network.module)
        found = (
            _traced_points(self._graph, blocks)
            if self.is_traced
            else _module_points(network.module, blocks, self.example)
        )
        names = choose(found, blocks, layers, network.name)
        self.points = tuple(_numbered(found, names))
        self._cut = _cut(self._graph, self.points) if self.is_traced else None

    def read(self, batch: Float[Tensor, "b c y x"], sink: Sink) -> None:
        """One forward pass; `sink` is called once per read point, in forward order."""
        with torch.inference_mode():
            self.pass_through(batch, sink)

    def pass_through(self, batch: Float[Tensor, "b c y x"], sink: Sink) -> None:
        """The same without switching gradients off."""
        if self._cut is None:
            _read_modules(self.network.module, self.points, batch, sink)
            return
        taps = [module for module in self._cut.modules() if isinstance(module, _Tap)]
        for tap in taps:
            tap.sink = sink
        try:
            self._cut(batch)
        finally:
            for tap in taps:
                tap.sink = None

    def trunk(self, point: ReadPoint) -> Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b c y x"]]:
        """The network up to one read point, as a function to maps that gradients go through."""
        if self.is_traced:
            module = _trunk(self._graph, point)
            return lambda batch: as_map(module(batch), channels_last=point.channels_last)

        def untraced(batch: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
            caught: list[Tensor] = []
            _read_modules(self.network.module, (point,), batch, lambda _, maps: caught.append(maps))
            return caught[0]

        return untraced


class _Tracer(fx.Tracer):
    """Traces into everything but torch's own layers, and notes which module each node belongs to."""

    record_stack_traces = False


def traced(module: nn.Module) -> fx.GraphModule:
    """The network as a graph that shares its weights."""
    tracer = _Tracer()
    graph = tracer.trace(module)
    return fx.GraphModule(tracer.root, graph)


# ---- finding the places --------------------------------------------------------------------------------------------


def _traced_points(graph: fx.GraphModule, blocks: Sequence[str]) -> list[ReadPoint]:
    modules = dict(graph.named_modules())
    fields = fields_of(graph, {node.name: _shape(node) for node in graph.graph.nodes})
    points: list[ReadPoint] = []
    calls: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(modules[str(node.target)], LAYER_TYPES):
            name = _call_name(str(node.target), calls)
            place, words = _behind_norm(node, modules)
            points.append(
                _point(name, place, words, modules, fields, last=isinstance(modules[str(node.target)], nn.Linear))
            )
    for block in blocks:
        for place in _last_nodes(graph, block):
            before, words = _before_relu(place, modules)
            points.append(_point(_call_name(block, calls), before, words, modules, fields, last=False))
    order = {node.name: number for number, node in enumerate(graph.graph.nodes)}
    return sorted((p for p in points if p.n_channels), key=lambda point: order[point.node])


def _call_name(name: str, calls: dict[str, int]) -> str:
    calls[name] = calls.get(name, 0) + 1
    return name if calls[name] == 1 else f"{name}#{calls[name]}"


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if meta is not None and hasattr(meta, "shape") else ()


def _point(
    name: str, node: fx.Node, words: str, modules: dict[str, Any], fields: dict[str, Field], *, last: bool
) -> ReadPoint:
    shape = _shape(node)
    channels_last = last or len(shape) == 3
    if len(shape) == 4:
        channels, size = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
    elif len(shape) == 3:
        channels, size = shape[2], (shape[1], 1)
    else:
        channels, size = (shape[1] if len(shape) == 2 else 0), (1, 1)
    field = fields.get(node.name) if len(shape) == 4 else None
    relu = bool(node.users) and all(_is_relu(user, modules) for user in node.users)
    return ReadPoint(name, 0, channels, (size[0], size[1]), field, words, relu, node.name, channels_last)


def _is_relu(node: fx.Node, modules: dict[str, Any]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], RELUS)
    return _function_name(node) in RELU_NAMES


def _function_name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _behind_norm(node: fx.Node, modules: dict[str, Any]) -> tuple[fx.Node, str]:
    """The last of the norms and neutral layers that alone follow a layer."""
    words = "own output"
    while len(node.users) == 1:
        user = next(iter(node.users))
        if user.op == "call_module" and isinstance(modules[str(user.target)], NORMS):
            node, words = user, f"behind batch norm {user.target}"
        elif user.op == "call_function" and _function_name(user) == "batch_norm":
            node, words = user, "behind batch norm"
        elif user.op == "call_module" and isinstance(modules[str(user.target)], NEUTRAL):
            node = user
        else:
            break
    return node, words


def _before_relu(node: fx.Node, modules: dict[str, Any]) -> tuple[fx.Node, str]:
    if _is_relu(node, modules):
        return node.all_input_nodes[0], "block, before its last ReLU"
    return node, "block output"


def _last_nodes(graph: fx.GraphModule, block: str) -> list[fx.Node]:
    """The last node of each call of a block."""
    last: list[fx.Node] = []
    inside = False
    for node in graph.graph.nodes:
        belongs = any(str(key).split("@")[0] == block for key in node.meta.get("nn_module_stack", {}))
        if belongs and inside:
            last[-1] = node
        elif belongs:
            last.append(node)
        inside = belongs
    return last


def blocks_of(module: nn.Module) -> list[str]:
    """Names of the network's blocks: its composite modules, plain containers opened, as far as they hold convolutions.

    A stage whose container holds nothing but blocks of one class is opened too (ConvNeXt's stages).
    """
    return list(_blocks(module, ""))


def _blocks(module: nn.Module, prefix: str) -> list[str]:
    found: list[str] = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if not any(isinstance(inner, nn.Conv2d) for inner in child.modules()) or isinstance(child, nn.Conv2d):
            continue
        if _is_container(child) or _is_stage(child):
            found += _blocks(child, f"{path}.")
        elif len(list(child.children())) > 0:
            found.append(path)
    return found


def _is_container(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _is_stage(module: nn.Module) -> bool:
    """Whether it is a row of blocks, or holds most of its convolutions in one."""
    if isinstance(module, nn.Sequential):
        return _uniform(module)
    rows = [child for child in module.children() if _is_container(child) and _uniform(child)]
    return any(2 * _n_convolutions(row) > _n_convolutions(module) for row in rows)


def _n_convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _uniform(container: nn.Module) -> bool:
    children = list(container.children())
    kinds = {type(child) for child in children}
    return len(children) > 1 and len(kinds) == 1 and not issubclass(kinds.pop(), (nn.Sequential, *LAYER_TYPES))


# ---- choosing ------------------------------------------------------------------------------------------------------


def choose(points: Sequence[ReadPoint], blocks: Sequence[str], layers: str | Sequence[str], network: str) -> set[str]:
    """Names of the read points that `layers` asks for.

    Raises:
        ModelError: if one of its words fits none.
    """
    names = [point.layer for point in points]
    block_names = {name for name in names if name.partition("#")[0] in set(blocks)}
    chosen: set[str] = set()
    for word in [layers] if isinstance(layers, str) else layers:
        if word == "all":
            fitting = {name for name in names if name not in block_names}
        elif word == "blocks":
            fitting = block_names
        else:
            fitting = {name for name in names if fnmatch.fnmatchcase(name, word)}
        if not fitting:
            near = difflib.get_close_matches(word, names, n=3)
            hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(names[:8])} ..."
            what = "no blocks" if word == "blocks" else f'no layer "{word}"'
            raise ModelError(f"{network} has {what}; {hint}. `polyscan units` lists them all.")
        chosen |= fitting
    return chosen


def chosen_layers(names: Sequence[str], layers: str | Sequence[str]) -> set[str]:
    """Those of the scanned layers that a second choice, such as `visualize.layers`, asks for.

    Raises:
        ModelError: if one of its words fits none.
    """
    chosen: set[str] = set()
    for word in [layers] if isinstance(layers, str) else layers:
        fitting = set(names) if word == "all" else {name for name in names if fnmatch.fnmatchcase(name, word)}
        if not fitting:
            near = difflib.get_close_matches(word, names, n=3)
            raise ModelError(f'"{word}" fits no scanned layer; nearest: {", ".join(near) or ", ".join(names[:8])}')
        chosen |= fitting
    return chosen


def _numbered(points: Sequence[ReadPoint], names: set[str]) -> list[ReadPoint]:
    """The chosen points in forward order with their depth; two names of one place are one layer."""
    chosen: list[ReadPoint] = []
    places: set[str] = set()
    for point in points:
        if point.layer in names and point.node not in places:
            places.add(point.node)
            chosen.append(ReadPoint(**{**point.__dict__, "depth": len(chosen)}))
    return chosen


# ---- cutting and reading -------------------------------------------------------------------------------------------


def _cut(graph: fx.GraphModule, points: Sequence[ReadPoint]) -> fx.GraphModule:
    """A copy of the graph with a tap behind each read point and nothing behind the last one."""
    by_node = {point.node: index for index, point in enumerate(points)}
    cut = fx.GraphModule(graph, _copied(graph, stop=max(by_node, key=_position(graph))))
    for node in list(cut.graph.nodes):
        if node.name in by_node:
            index = by_node[node.name]
            name = f"tap_{index}"
            cut.add_module(name, _Tap(index, channels_last=points[index].channels_last))
            with cut.graph.inserting_after(node):
                cut.graph.call_module(name, (node,))
    cut.recompile()
    return cut


def _trunk(graph: fx.GraphModule, point: ReadPoint) -> fx.GraphModule:
    """A copy of the graph that gives back the read point's output."""
    module = fx.GraphModule(graph, _copied(graph, stop=point.node, output=point.node))
    # In-place operations are fine here too: what they overwrite lies before the read point.
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _position(graph: fx.GraphModule) -> Callable[[str], int]:
    order = {node.name: number for number, node in enumerate(graph.graph.nodes)}
    return lambda name: order[name]


def _copied(graph: fx.GraphModule, *, stop: str, output: str | None = None) -> fx.Graph:
    """The graph's nodes up to and with `stop`, under their own names."""
    copy = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.graph.nodes:
        made[node] = copy.node_copy(node, lambda old: made[old])
        if node.name == stop:
            break
    by_name = {old.name: new for old, new in made.items()}
    copy.output(by_name[output] if output else None)
    return copy


class _PassEnded(Exception):  # not an error: the way out of a forward pass whose rest is not needed
    """Ends a forward pass behind the deepest read module."""


def _module_points(module: nn.Module, blocks: Sequence[str], example: Tensor) -> list[ReadPoint]:
    """Read points of a network that can't be traced, in the order in which its modules are called."""
    points: list[ReadPoint] = []
    calls: dict[str, int] = {}

    def note(name: str, part: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
                last = isinstance(part, nn.Linear) or output.ndim == 3
                maps = as_map(output, channels_last=last)
                call = _call_name(name, calls)
                words = "module output (the network can't be traced)"
                size = (maps.shape[2], maps.shape[3])
                points.append(ReadPoint(call, 0, maps.shape[1], size, None, words, False, call, last))

        return hook

    chosen = {name: part for name, part in module.named_modules() if isinstance(part, LAYER_TYPES) or name in blocks}
    handles = [part.register_forward_hook(note(name, part)) for name, part in chosen.items()]
    try:
        with torch.inference_mode():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    return points


def _read_modules(module: nn.Module, points: Sequence[ReadPoint], batch: Tensor, sink: Sink) -> None:
    wanted = {point.node: index for index, point in enumerate(points)}
    calls: dict[str, int] = {}
    left = len(wanted)

    def reading(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            nonlocal left
            index = wanted.get(_call_name(name, calls))
            if index is None:
                return
            sink(index, as_map(output, channels_last=points[index].channels_last))
            left -= 1
            if left == 0:
                raise _PassEnded

        return hook

    names = {node.partition("#")[0] for node in wanted}
    handles = [part.register_forward_hook(reading(name)) for name, part in module.named_modules() if name in names]
    try:
        module(batch)
    except _PassEnded:
        pass
    finally:
        for handle in handles:
            handle.remove()
