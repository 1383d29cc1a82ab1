"""Laws of the code itself: its sketch, its sizes, its names, and where a layer's name may be parsed."""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from places import REPOSITORY

from polyscan.pipeline import STAGES
from polyscan.units import VIRTUAL_MARK

PACKAGE = REPOSITORY / "polyscan"
SHORT_LINES, MEDIAN_LINES, FILE_LINES, PIPELINE_LINES, FIRST_SCREEN = 16, 8, 400, 250, 50
TWICE = {"Worker"}
"""Class names that may stand in several files: each stage has a `Worker`, by the contract of stages."""

OTHER_SENSES = {
    "units.py": "the one place",
    "vision/readouts/calls.py": "torch.fx puts it between a module and the number of its call",
    "images/left_out.py": "the folder in which a kind of disk station keeps its thumbnails",
    "maps/depth_trend.py": "a spreadsheet takes a cell that begins with it for a formula",
}
"""Files that hold the mark of virtual layers as a string, and in what sense."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Each file of the package with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function with its signature, its docstring aside."""
    docstring = ast.get_docstring(node, clean=False)
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    return whole - (docstring.count("\n") + 1 if docstring is not None else 0)


def layers_of_contract() -> list[str]:
    """The lines of the contract that puts the rooms in order, `__main__` aside."""
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [line for line in layers if line != "__main__"]


def test_the_sketch_of_the_rooms_is_the_contract() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = text.split("## Rooms", 1)[1]
    sketch = rooms.split("```text\n", 1)[1].split("```", 1)[0].splitlines()
    assert sketch == layers_of_contract()
    described = re.findall(r"^\| `(\w+)` \|", rooms, flags=re.MULTILINE)
    assert sorted(described) == sorted(room for line in sketch for room in line.split(" | "))


def test_the_line_in_the_docs_is_the_line_of_the_pipeline() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    line = text.split("```text\n", 1)[1].split("(", 1)[0].strip()
    assert re.split(r"\s+-> ", line) == [stage.name for stage in STAGES]


def test_the_pipeline_reads_as_an_essay() -> None:
    lines = (PACKAGE / "pipeline.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < PIPELINE_LINES
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("STAGES")) < FIRST_SCREEN


def test_functions_and_files_are_short() -> None:
    sizes = [
        code_lines(node)
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(sizes) <= MEDIAN_LINES
    assert sum(size >= SHORT_LINES for size in sizes) <= len(sizes) / 10
    long = {str(path): n for path, _ in modules() if (n := path.read_text(encoding="utf-8").count("\n")) > FILE_LINES}
    assert not long


def test_one_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(REPOSITORY)))
    assert {name: where for name, where in homes.items() if len(where) > 1 and name not in TWICE} == {}


def test_only_units_knows_how_a_virtual_layer_is_written() -> None:
    guilty = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path, tree in modules()
        if path.relative_to(PACKAGE).as_posix() not in OTHER_SENSES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{VIRTUAL_MARK}\w*", node.value)
    ]
    assert guilty == []


def test_public_things_are_documented() -> None:
    silent = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path, tree in modules()
        for name, node in public_definitions(tree)
        if ast.get_docstring(node) is None and not is_override(node)
    ]
    assert silent == []


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """Public functions and classes of a file, and public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
                        yield f"{node.name}.{child.name}", child


def is_override(node: ast.AST) -> bool:
    """Whether a method says that what it does is told in the class it comes from."""
    return any(isinstance(mark, ast.Name) and mark.id == "override" for mark in getattr(node, "decorator_list", []))
