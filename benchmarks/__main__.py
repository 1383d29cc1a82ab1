"""`python -m benchmarks [NAME ...]`: measures, prints a table, writes `build/bench.json`.

Law: a number in the table was measured in this call; what could not be measured is named with its reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.places import BUILD

if TYPE_CHECKING:
    from benchmarks.race import Outcome

BENCHMARKS = {
    "collect_vs_forward": "races",
    "collect_vs_semanticlens": "races",
    "collect_vs_zennit_crp": "races",
    "virtual_units": "races",
    "collect_memory_growth": "races",
    "ray_two_workers": "scaling",
    "visualize_vs_lucent": "races",
    "activation_time_vs_lucent": "races",
    "visualize_vs_torch_dreams": "races",
    "visualize_vs_trunk": "races",
    "cluster_vs_libraries": "races",
}
"""Which folder each is in."""
RESULTS = BUILD / "bench.json"
PEERS = ("lucent", "torch_dreams")
"""Whose images' activations stand beside polyscan's."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Returns 0 even where a target is missed: a benchmark tells, it does not judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(BENCHMARKS)}")
    parser.add_argument("--markdown", action="store_true", help="print build/bench.json as a table for the docs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both sides run")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    if arguments.markdown:
        if not RESULTS.exists():
            parser.error("there is no build/bench.json yet; run `make bench` first")
        sys.stdout.write(markdown(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return 0
    _settle(arguments.device)
    measured = dict(outcomes(arguments.names or list(BENCHMARKS)))
    RESULTS.parent.mkdir(exist_ok=True)
    lines = {name: outcome.as_json() for name, outcome in measured.items()}
    RESULTS.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")
    draw(measured)
    return 0


def _settle(device: str) -> None:
    """One thread a process and no GPU unless asked for, before torch is loaded; the peer's process inherits it."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    torch.set_num_threads(1)


def outcomes(names: list[str]) -> Iterator[tuple[str, Outcome]]:
    """The lines of the named benchmarks, in order."""
    from benchmarks.race import Outcome, Skipped

    for name in names:
        module = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}.{name}")
        load = os.getloadavg()[0]
        sys.stderr.write(f"{name} (load average before it: {load:.2f})\n")
        try:
            found: Mapping[str, Outcome] = module.outcomes()
        except Skipped as reason:
            found = {line: Outcome(target, skipped=str(reason)) for line, target in module.TARGETS.items()}
        yield from found.items()


def draw(measured: Mapping[str, Outcome]) -> None:
    """The table on the terminal, and what its lines mean."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("benchmark", no_wrap=True)
    for heading in ("ratio", "target"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("runs, or why none", overflow="fold")
    table.add_column("activation", justify="right", no_wrap=True)
    for name, outcome in measured.items():
        target = f"{'<=' if outcome.target.at_most else '>='} {outcome.target.ratio:g}"
        if outcome.ratio is None:
            table.add_row(name, "skipped", target, outcome.skipped)
            continue
        colour = "green" if outcome.target.met(outcome.ratio) else "red"
        ratio = f"[{colour}]{outcome.ratio:.2f}[/]"
        table.add_row(name, ratio, target, _runs(outcome.runs), _activation(outcome.notes))
    console.print(table)
    for name, outcome in measured.items():
        console.print(f"{name}: {outcome.target.meaning}", highlight=False, soft_wrap=True)
    console.print("activation: median reached by polyscan's images, by the peer's", highlight=False, soft_wrap=True)


def markdown(lines: Mapping[str, Mapping[str, Any]]) -> str:
    """The file as a table for `docs/performance.md`."""
    rows = ["| benchmark | ratio | runs | target | activation: polyscan, peer |", "| --- | ---: | --- | ---: | --- |"]
    for name, line in lines.items():
        ratio = "skipped" if line["ratio"] is None else f"{line['ratio']:.2f}"
        runs = line.get("skipped") or _runs(line["runs"])
        rows.append(f"| `{name}` | {ratio} | {runs} | {line['target']:g} | {_activation(line)} |")
    return "\n".join(rows) + "\n"


def _runs(runs: Any) -> str:
    return " ".join(f"{run:.2f}" for run in runs)


def _activation(notes: Mapping[str, Any]) -> str:
    found = notes.get("activation")
    if not found:
        return ""
    peer = next(name for name in PEERS if name in found)
    return f"{found['polyscan']:.3f}, {found[peer]:.3f}"


if __name__ == "__main__":
    sys.exit(main())
