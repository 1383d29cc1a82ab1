"""Which of the tensors in a checkpoint are a network's weights.

Law: weights are taken only if exactly one set of them has every tensor of the network, in its shape; what was taken and
what was left out is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from polyscan.errors import ModelError, suggestion

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch's wrappers put into names: `torch.compile`, FSDP, activation checkpoints."""
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Last parts of names of tensors that count something and that evaluation does not use."""
EXTRA_STATE = "_extra_state"
"""Ending of the names under which modules keep what is no tensor."""
DEEPEST = 3
PROBES = 8


@dataclass(frozen=True)
class Candidate:
    """One set of tensors in a checkpoint, under the network's own names.

    Args:
        key: where it is in the file, as in "model.ema"; "" for the whole file.
        prefix: what was taken off the names, as in "module.".
        state: the tensors, and extra states of modules.
        expected: the network's own tensors.
        outside: names in the file that do not begin with the prefix.
    """

    key: str
    prefix: str
    state: Mapping[str, Any]
    expected: Mapping[str, Tensor]
    outside: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What `network.weights_key` calls it."""
        return ".".join(filter(None, (self.key, self.prefix.removesuffix("."))))

    @cached_property
    def missing(self) -> list[str]:
        """Tensors of the network that the checkpoint lacks; a tied one needs to be there only once."""
        present = {self.expected[name].data_ptr() for name in self.expected if name in self.state}
        absent = [name for name in self.expected if name not in self.state and not _is_counter(name)]
        return sorted(name for name in absent if (at := self.expected[name].data_ptr()) == 0 or at not in present)

    @cached_property
    def unknown(self) -> list[str]:
        """Tensors that the network does not have."""
        return sorted(
            name
            for name, value in self.state.items()
            if isinstance(value, Tensor) and name not in self.expected and not _is_counter(name)
        )

    @cached_property
    def wrong(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Shapes that differ, by name: in the file, and in the network."""
        shapes = {
            name: (tuple(self.state[name].shape), tuple(value.shape))
            for name, value in self.expected.items()
            if name in self.state
        }
        return {name: pair for name, pair in sorted(shapes.items()) if pair[0] != pair[1]}

    @cached_property
    def retyped(self) -> list[str]:
        """Names whose values are whole numbers in the file, as in quantized weights, but fractions in the network."""
        return sorted(
            name
            for name, value in self.expected.items()
            if name in self.state and value.is_floating_point() and not self.state[name].is_floating_point()
        )

    @property
    def n_faults(self) -> int:
        """Number of names by which it differs from the network."""
        return len(self.missing) + len(self.unknown) + len(self.wrong) + len(self.retyped)

    @property
    def difference(self) -> str:
        """How it differs from the network in names and shapes."""
        shapes = [f"{name} {got} instead of {own}" for name, (got, own) in self.wrong.items()]
        numbers = f", not floating-point {self.retyped[:3]}" if self.retyped else ""
        return (
            f"{len(self.missing)} missing {self.missing[:3]}, {len(self.unknown)} unknown {self.unknown[:3]}, "
            f"wrong shape {shapes[:3]}{numbers}"
        )

    @property
    def taken(self) -> str:
        """What was taken, to be put after the file's name; "" if that is all of the file."""
        key = f' "{self.key}"' if self.key else ""
        prefix = f' without the prefix "{self.prefix}"' if self.prefix else ""
        kept = {name for name, value in self.state.items() if isinstance(value, Tensor) and name not in self.expected}
        left = sorted({*self.outside, *(name for name in kept if not name.endswith("num_batches_tracked"))})
        return f"{key}{prefix}" + (f"; left out: {_some(left)}" if left else "")


def chosen(content: Any, expected: Mapping[str, Tensor], key: str, origin: str) -> Candidate:
    """The set of tensors in a checkpoint that a network takes, or the most similar one if none fits.

    Args:
        content: what the file holds.
        expected: the network's tensors by name.
        key: `network.weights_key`: which set to take; "" if only one fits.
        origin: the file, for messages.

    Raises:
        ModelError: if there are no tensors, no set of that name, or several sets that fit.
    """
    states = dict(_states(content))
    if not states:
        raise ModelError(
            f"{origin} holds a {type(content).__name__} that is not a state dict (names to tensors); "
            "save the network with torch.save(model.state_dict(), path)"
        )
    candidates = [candidate for name, state in states.items() for candidate in _candidates(name, state, expected)]
    if key:
        candidates = _named(candidates, key, origin)
    fitting = [candidate for candidate in candidates if not candidate.n_faults]
    if len(fitting) > 1:
        labels = [candidate.label for candidate in fitting]
        raise ModelError(
            f"{origin} holds several sets of weights that fit: {_quoted(labels)}; "
            f'choose one, as in network.weights_key = "{labels[-1]}"'
        )
    if not fitting:
        return min(candidates, key=lambda candidate: candidate.n_faults)
    _refuse_second_set(fitting[0], candidates, key, origin)
    _refuse_untied(fitting[0], origin)
    return fitting[0]


def _refuse_second_set(taken: Candidate, candidates: Sequence[Candidate], key: str, origin: str) -> None:
    """Refuses a set under a prefix if the same dictionary has all of the network's names without it, too."""
    others = (other for other in candidates if other.key == taken.key and len(other.prefix) < len(taken.prefix))
    if not key and any(not (other.missing or other.wrong or other.retyped) for other in others):
        raise ModelError(
            f'{origin} holds the network\'s weights twice, with the prefix "{taken.prefix}" and without; choose the '
            f'former by network.weights_key = "{taken.label}", or save the latter in a file of their own'
        )


def _refuse_untied(taken: Candidate, origin: str) -> None:
    """Refuses unlike tensors for what is one tensor in the network."""
    names: dict[int, str] = {}
    for name, value in taken.expected.items():
        if name not in taken.state or not value.numel():
            continue
        first = names.setdefault(value.data_ptr(), name)
        if value.shape == taken.expected[first].shape and not torch.equal(taken.state[first], taken.state[name]):
            raise ModelError(
                f"{origin} has other weights for {name} than for {first}, which are one tensor in the network; build "
                "the network as it was trained"
            )


def _named(candidates: list[Candidate], key: str, origin: str) -> list[Candidate]:
    """The candidates that `network.weights_key` names; by label if there is one, else by place or by prefix."""
    labelled = [candidate for candidate in candidates if candidate.label == key]
    named = labelled or [one for one in candidates if key in (one.key, one.prefix, one.prefix.removesuffix("."))]
    if not named:
        known = sorted({name for one in candidates for name in (one.label, one.key) if name})
        there = suggestion(key, known) if known else "it holds one set, so leave `network.weights_key` out"
        raise ModelError(f'{origin} has no weights under `network.weights_key` "{key}"; {there}')
    return named


def _states(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping from names to tensors in a checkpoint, by its dotted place."""
    if not isinstance(content, Mapping):
        return
    named = {key: value for key, value in cast("Mapping[Any, Any]", content).items() if isinstance(key, str)}
    if any(isinstance(value, Tensor) for value in named.values()):
        yield ".".join(path), {k: v for k, v in named.items() if isinstance(v, Tensor) or k.endswith(EXTRA_STATE)}
    if len(path) < DEEPEST:
        for key, value in named.items():
            yield from _states(value, (*path, key))


def _candidates(key: str, state: Mapping[str, Any], expected: Mapping[str, Tensor]) -> Iterator[Candidate]:
    """A state dict as it is, and without each prefix under which it has tensors of the network's names."""
    own = {unwrapped(name): value for name, value in expected.items()}
    plain = {unwrapped(name): value for name, value in state.items()}
    for prefix in sorted(_prefixes(plain, own)):
        inner = {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}
        outside = tuple(name for name in plain if not name.startswith(prefix))
        yield Candidate(key, prefix, inner, own, outside)


def _prefixes(state: Mapping[str, Any], expected: Mapping[str, Tensor]) -> set[str]:
    names = list(expected)
    probes = names[:: max(1, len(names) // PROBES)]
    ends = {name.removesuffix(probe) for probe in probes for name in state if name.endswith(probe)}
    return {"", *(prefix for prefix in ends if prefix.endswith("."))}


def unwrapped(name: str) -> str:
    """The name of a tensor without what torch's wrappers put into it.

    >>> unwrapped("layer1._orig_mod.0.weight")
    'layer1.0.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] in COUNTERS


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' if name else "the file itself" for name in names)
