"""Rules of layer-wise relevance propagation, by kind of operation; each is one of zennit's.

| operation | rule |
| --- | --- |
| convolution | of the composite |
| linear layer | epsilon |
| batch norm that alone follows a convolution | merged into it (zennit calls this canonising) |
| any other batch norm | relevance passes through unchanged |
| addition of a residual connection, and any other | in proportion to the terms |
| activation, product with a number | relevance passes through unchanged |
| product of a signal and a gate | all relevance to the signal |
| average, interpolation | in proportion to the terms |
| maximum, change of shape, dropout | to where the value came from |

The composites `gamma` (the default) and `epsilon` conserve relevance but for what biases take; `epsilon_plus` also
loses it where a convolution has no positive term, as may be in the branch of a residual connection.

Source: Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
propagation"; Montavon et al. 2019, "Layer-wise relevance propagation: an overview"; for gates Arras et al. 2019,
"Explaining and interpreting LSTMs"; zennit: Anders et al. 2021, "Software for dataset-wide XAI".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from zennit.core import BasicHook, Hook, ParamMod
from zennit.layer import Sum
from zennit.rules import Epsilon, Gamma, Norm, Pass, ZPlus
from zennit.types import Activation, AvgPool, BatchNorm, Convolution, MaxPool

from polyscan.errors import ModelError
from polyscan.vision.attribution.parts import Added, Averaged, Elementwise, Gated
from polyscan.vision.attribution.passage import Passage
from polyscan.vision.readouts.ready import DROPOUTS, NEUTRAL, TURNS
from polyscan.vision.tracing import function_name, shape_of

DEFAULT = "gamma"
EPSILON = 1e-6
"""What a denominator is moved away from 0 by, relative to the root mean square of its image's."""
_TINY = 1e-20


def stabilised(denominator: Tensor) -> Tensor:
    """A denominator moved away from 0 by a share of the size that an image's denominators have.

    zennit's default is 1e-6 itself, which takes most of the relevance where a network's values are as small as that.
    """
    size = denominator.square().flatten(1).mean(dim=1).sqrt().view(-1, *[1] * (denominator.ndim - 1))
    return denominator + torch.where(denominator < 0, -1.0, 1.0) * (EPSILON * size).clamp_min(_TINY)


_STABILISED: Any = stabilised  # zennit takes functions, too, but a type checker infers numbers from its defaults
COMPOSITES: Mapping[str, Callable[[], Hook]] = {
    DEFAULT: partial(Gamma, stabilizer=_STABILISED),
    "epsilon": partial(Epsilon, epsilon=_STABILISED),
    "epsilon_plus": partial(ZPlus, stabilizer=_STABILISED),
}
"""The registry of composites: each one's name and its rule for convolutions."""

MOVES = TURNS | {"cat", "concat", "stack", "chunk", "split", "getitem", "flatten", "unflatten", "reshape", "view"}
MAXIMA = frozenset(("max_pool1d", "max_pool2d", "adaptive_max_pool2d", "amax"))
UNTOUCHED = (
    MOVES
    | MAXIMA
    | DROPOUTS
    | {"stochastic_depth"}
    | {"contiguous", "unsqueeze", "squeeze", "expand", "clone", "getattr", "float"}
)
UNTOUCHED_MODULES = (*NEUTRAL, nn.Flatten, nn.Unflatten, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle)


class GateRule(Hook):
    """All relevance of a product to its first factor, the signal."""

    def backward(self, module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
        """The relevance of the factors."""
        return grad_output[0], *(None if each is None else torch.zeros_like(each) for each in grad_input[1:])


def rules_of(passage: Passage, composite: str) -> dict[str, Hook]:
    """The rule of each module that relevance passes, by the module's name; those without one are left out.

    Args:
        passage: in a graph as `plain` makes it.
        composite: a name in `COMPOSITES`.

    Raises:
        ModelError: if a node does something that has no rule.
    """
    rules: dict[str, Hook] = {}
    graph = passage.graph_module
    for node in passage.way:
        if node.op == "output":
            continue
        if node.op == "call_module":
            name, part = _ruled(str(node.target), graph.get_submodule(str(node.target)))
            rule = _rule(part, composite)
            if rule is not None:
                rules[name] = rule
        elif shape_of(node) and function_name(node).removesuffix("_") not in UNTOUCHED:
            raise ModelError(_no_rule(function_name(node), node))
    return rules


def _ruled(name: str, part: nn.Module) -> tuple[str, nn.Module]:
    """The module that a rule is hung onto: the sum inside an addition, else the module itself."""
    return (f"{name}.sum", part.sum) if isinstance(part, Added) else (name, part)


def _rule(part: Any, composite: str) -> Hook | None:
    """A module's rule; None if its gradient takes relevance to where it came from."""
    table: list[tuple[Any, Callable[[], Hook] | None]] = [
        (Convolution, COMPOSITES[composite]),
        (nn.Linear, COMPOSITES["epsilon"]),
        ((Sum, AvgPool, Averaged, nn.Upsample), partial(Norm, stabilizer=_STABILISED)),
        ((Activation, BatchNorm, Elementwise), Pass),
        (Gated, GateRule),
        ((MaxPool, *UNTOUCHED_MODULES), None),
    ]
    for kinds, rule in table:
        if isinstance(part, kinds):
            return None if rule is None else rule()
    raise ModelError(_no_rule(type(part).__name__, None))


def _no_rule(what: str, node: fx.Node | None) -> str:
    where = "" if node is None else f" (node {node.name})"
    return (
        f"relevance can't be taken through `{what}`{where}: LRP has rules for convolutions, linear layers, batch "
        'norms, activations, additions, gates and pools only. Use how = "gradient", or a layer above it'
    )


def tallied(rule: Hook, module: nn.Module, add: Callable[[Tensor], object]) -> Hook:
    """The same rule, which also gives to `add` the relevance that the module's bias takes, [b].

    The bias is one more input, whose value is 1: its relevance is that of the rule for this input.
    """
    bias = getattr(module, "bias", None)
    if not isinstance(rule, BasicHook) or not isinstance(bias, Tensor):
        return rule
    gradient_mapper: Any = rule.gradient_mapper  # zennit has no types
    reducer: Any = rule.reducer
    modifiers: Any = rule.param_modifiers
    with torch.no_grad():
        terms = [_bias_of(module, modifier) for modifier in modifiers]

    def mapped(out_grad: Tensor, outputs: list[Tensor]) -> Any:
        gradients = gradient_mapper(out_grad, outputs)
        each = list(gradients) if isinstance(gradients, list | tuple) else [gradients]
        axis = out_grad.ndim - 1 if isinstance(module, nn.Linear) else 1
        shape = [-1 if number == axis else 1 for number in range(out_grad.ndim)]
        with torch.no_grad():
            add(reducer([term.view(shape) for term in terms], each).flatten(1).sum(dim=1))
        return gradients

    return BasicHook(rule.input_modifiers, modifiers, rule.output_modifiers, mapped, reducer)


def _bias_of(module: nn.Module, modifier: Any) -> Tensor:
    """The bias that one term of a rule has."""
    with ParamMod.ensure(modifier)(module) as changed:
        return changed.bias.detach().clone()  # pyright: ignore[reportCallIssue]  # a tensor, as the caller has checked
