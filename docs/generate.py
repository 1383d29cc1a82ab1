"""Reference pages made from the code: scores, tables, job settings, command line. `conf.py` calls it before each build.

It imports only light modules: no torch, no Ray.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

import numpy as np
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from polyscan.cli import app
from polyscan.job import Job
from polyscan.scores import SCORES
from polyscan.scores.sample import Sample
from polyscan.scores.score import Score, ScoreOfParts
from polyscan.tables import TABLES, Column

NOBODY = Sample(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), 0.0, 0.0)
BOUNDS = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
TAILS = {
    "upper": "large values suggest several concepts",
    "lower": "small values suggest several concepts",
    "none": "the score gets no p against the null",
}
MAP_EXTRAS = (
    (
        "verdict",
        "string",
        "tier of the first test, or why there is none; see Methods. All to `n_clusters` needs a null",
    ),
    ("separation", "float64", "the statistic of the test: two tempered residuals from the null (gap and cut), in sd"),
    ("p", "float64", "p of the separation against the first of `calibrate.nulls`"),
    ("q", "float64", "q of Benjamini & Hochberg, from p over all live units"),
    ("q_by", "float64", "q of Benjamini & Yekutieli"),
    ("q_group", "float64", "group-adaptive q of Hu, Zhao & Zhou, groups being layers; decides `probably several`"),
    ("q_storey", "float64", "Storey's q within the layer"),
    ("p_exact", "float64", "p with the null's curves fitted on other null sets; `at least N` is counted from it"),
    ("n_exact", "float64", "number of null sets that `p_exact` was counted among"),
    (
        "second_p",
        "float64",
        "p of the second test: of the separation of deflated evidence, against null sets of its kind",
    ),
    (
        "second_q",
        "float64",
        "q of Benjamini & Hochberg; `second_q_by`, `second_q_group`, `second_q_storey` as without prefix",
    ),
    (
        "causal_share",
        "float64",
        "with patch swaps: share of its tested clusters of exemplars that drive the unit, at q <= `show.fdr`",
    ),
    ("second_causal_share", "float64", "the same for the two parts of its deflated evidence"),
    ("second_verdict", "string", "verdict of the second test, in the same words; it is never certified"),
    ("second_strength", "float64", "mean activation of the least explained images over that of the strongest"),
    (
        "second_SCORE",
        "float64",
        "`second_separation`, `second_gap`, `second_p_exact`, `second_artefact` ...: of deflated evidence",
    ),
    ("embedding_null_p", "float64", "p against the embedding null, if evidence is the whole image; `_q` its q"),
    ("SCORE_p", "float64", "for each score with a tail: its own p against the first null"),
    ("match_radius", "float64", "distance in clarity to the 20th nearest null set"),
    ("off_range", "bool", "too few null sets have similar homogeneity, so p means nothing"),
    ("incoherent", "bool", "clarity not above that of random sets"),
    ("artefact", "string", "what tells its clusters apart though it is no concept, or empty; see Methods"),
    ("artefact_mark", "string", "the place of the peaks, or the rank of the repeated exemplar"),
    ("n_clusters", "float64", "1 unless the verdict is several, then `silhouette_k`"),
    ("psi", "float64", "S Q D by labels; `psi_s`, `psi_q`, `psi_d` its parts, `psi_p` by the joint null, `psi_qvalue`"),
    ("psi_words", "float64", "the same by the open vocabulary, if there is one"),
    ("psi_gated", "float64", "PSI if the unit is called several, else 0; `psi_words_gated` the same by the vocabulary"),
    ("crops_SCORE", "float64", "scores of embedded crops, if the layer is compared by features"),
    ("down_SCORE", "float64", 'scores of the downward exemplars, with `survey.sign = "both"`; `down_p` their p'),
    ("cluster_shares", "string", "shares of the best 2 to 5 clusters, ungated, largest first, as text: `0.60 0.40`"),
    ("direction", "string", "what a direction of one's own is called by its file; only in runs with `[directions]`"),
    (
        "names",
        "string",
        "the best name of each cluster of a unit called several, else of all its exemplars; names with p <= .05 alone",
    ),
    ("second_name", "string", "the best name of the images that its main meaning leaves unexplained, likewise"),
    ("nearest_unit", "string", "the unit of the same layer whose mean exemplar vector is nearest, as `conv2:3`"),
    ("nearest_cosine", "float64", "cosine of the two means"),
    ("visualization_activation", "float64", "largest activation among the unit's visualizations"),
    (
        "visualization_beats_data",
        "float64",
        "1 if a visualization is stronger than the unit's best image, else 0; null for units without visualizations",
    ),
    ("visualizations_winning", "float64", "share of its visualizations that are stronger than its best image"),
    ("visualization_stop", "string", "why no more were made: `elbow`, `max_images`, `stalled` or `dead`"),
)


def write_all(folder: Path) -> None:
    """Writes every generated page that changes; the others are left alone, so that builds stay incremental."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("scores", scores()), ("tables", tables()), ("map", unit_map()), ("job", job_settings()),
                        ("commands", commands())):  # fmt: skip
        path, text = folder / f"{name}.md", "\n".join(lines) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


# ---- scores --------------------------------------------------------------------------------------------------------


def scores() -> Iterator[str]:
    """Every score of the registry, from its docstring."""
    for name, score in SCORES.items():
        yield f"### {name}"
        yield ""
        yield from _prose(inspect.getdoc(score) or "")
        yield from table(("property", "value"), list(_facts(name, score)))


def _prose(docstring: str) -> Iterator[str]:
    """Paragraphs, a leading heading such as `Range:` in bold, indented ones as formulas, without `Args`."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        if paragraph.startswith("Args:"):
            continue
        if paragraph.startswith("    "):
            yield from ("```text", *inspect.cleandoc(paragraph).splitlines(), "```", "")
        else:
            heading = re.match(r"(Range|High means|Blind to|Source): ", paragraph)
            yield f"**{heading[1]}**: {paragraph[heading.end() :]}" if heading else paragraph
            yield ""


def _facts(name: str, score: type[Score]) -> Iterator[tuple[str, str]]:
    yield "label on the maps", score.label
    yield "defined on", ", ".join(score.evidence)
    yield "tail", f"{score.tail}: {TAILS[score.tail]}"
    if parts := _parts(name):
        meaning = (inspect.getdoc(score.parts) or "").partition("\n")[0]  # type: ignore[attr-defined]
        yield "parts, each a row of `scores`", f"{', '.join(f'`{name}_{part}`' for part in parts)}. {meaning}"
    settings = dataclasses.fields(cast("Any", score))
    words = [f"`{field.name}`: {_argument(score, field.name)}" for field in settings]
    yield f"settings, in `[scores.{name}]`", "; ".join(words) or "none"


def _parts(name: str) -> list[str]:
    score = SCORES[name]()
    return list(score.parts(NOBODY)) if isinstance(score, ScoreOfParts) else []


def _argument(score: type[Score], field: str) -> str:
    """The description of a field in the `Args` section."""
    _, _, arguments = (inspect.getdoc(score) or "").partition("Args:")
    found = re.search(rf"^\s+{field}: (.*?)(?=^\s+\w+: |\Z)", arguments, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


# ---- tables --------------------------------------------------------------------------------------------------------


def tables() -> Iterator[str]:
    """Every table of a run, from its schema."""
    for schema in TABLES.values():
        yield f"### {schema.name}"
        yield ""
        yield f"Written by `{schema.stage}`. One row per {schema.one_row_per}. Schema version {schema.version}."
        yield ""
        yield from table(("column", "type", "unit", "meaning"), [_column(column) for column in schema.columns])


def _column(column: Column) -> tuple[str, str, str, str]:
    kind = f"{column.type}, may be null" if column.nullable else column.type
    return f"`{column.name}`", kind, column.unit, column.meaning


def unit_map() -> Iterator[str]:
    """The columns of `map.parquet`: those of `units`, of each score and its parts, and those that the report adds."""
    rows = [(f"`{c.name}`", c.type, c.meaning) for c in TABLES["units"].columns]
    for prefix, evidence in (("", "exemplars"), ("visualizations_", "visualizations")):
        for name, score in SCORES.items():
            if evidence in score.evidence:
                rows.append((f"`{prefix}{name}`", "float64", f"{score.label} of the unit's {evidence}"))
                rows += [
                    (f"`{prefix}{name}_{part}`", "float64", f"part `{part}` of that score") for part in _parts(name)
                ]
    rows += [(f"`{name}`", kind, meaning) for name, kind, meaning in MAP_EXTRAS]
    yield from table(("column", "type", "meaning"), rows)


# ---- job settings --------------------------------------------------------------------------------------------------


def job_settings() -> Iterator[str]:
    """Every key of a job file, group by group, from the models."""
    groups = {name: group for name, field in Job.model_fields.items() if (group := _group(field)) is not None}
    plain = {name: field for name, field in Job.model_fields.items() if name not in groups}
    yield "### At the top of the file"
    yield ""
    yield from table(("key", "type", "default", "bounds", "meaning"), [_key(*item) for item in plain.items()])
    for name, group in groups.items():
        yield f"### [{name}]"
        yield ""
        yield inspect.getdoc(group) or ""
        yield ""
        rows = [_key(*item) for item in group.model_fields.items()]
        yield from table(("key", "type", "default", "bounds", "meaning"), rows)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _key(name: str, field: FieldInfo) -> tuple[str, str, str, str, str]:
    bounds = [
        f"{sign} {getattr(limit, kind.lower())}"
        for limit in field.metadata
        for kind, sign in BOUNDS.items()
        if type(limit).__name__ == kind
    ]
    return f"`{name}`", _type(field.annotation), _default(field), ", ".join(bounds), field.description or ""


def _type(annotation: Any) -> str:
    """An annotation in TOML's terms."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value!r}`".replace("'", '"') for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(kind) for kind in inner if kind is not type(None))
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "tables"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined or field.default is None:
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else repr(field.default)}`".replace(
        "'", '"'
    )


# ---- the command line ----------------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Every command with its arguments and options, with the texts that `--help` prints."""
    group = cast("Any", typer.main.get_command(app))
    for name, command in group.commands.items():
        yield f"### polyscan {name}"
        yield ""
        yield command.help
        yield ""
        words = [parameter.name.upper() for parameter in command.params if parameter.param_type_name == "argument"]
        required = {parameter.name.upper() for parameter in command.params if parameter.required}
        usage = [word if word in required else f"[{word}]" for word in words]
        yield from ("```text", " ".join(["polyscan", name, *usage, "[OPTIONS]"]), "```", "")
        yield from table(("argument or option", "meaning"), [_parameter(parameter) for parameter in command.params])


def _parameter(parameter: Any) -> tuple[str, str]:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`", parameter.help
    value = "" if parameter.is_flag else f" {parameter.name.upper()}"
    return f"`{'`, `'.join(parameter.opts)}{value}`", parameter.help
