"""The settings of names."""

from __future__ import annotations

from pydantic import Field, field_validator

from polyscan.job.input_settings import Settings

CLASSES = (
    "for `conse:NETWORK`: a table with a text vector for each class of the network, `FILE.safetensors#KEY`, the names "
    "of its rows in the file or in `FILE.json` or `names.json` beside it"
)
TEMPLATES = ("a photo of {}", "a close-up photo of {}", "a cropped photo of {}", "a blurry photo of {}")
HOLE = "{}"


class NameSettings(Settings):
    """What clusters are named by."""

    model: str = Field(
        "",
        description="as `embed.model`: with a text tower or a table, clusters are named by words; else by the nearest "
        "label prototypes; empty: `embed.model` if it has words, else labels are counted and no model is run",
    )
    input_px: int | None = Field(None, ge=16, description="side of the model's input; default: that of the model")
    classes: str = Field("", description=CLASSES)
    vocabulary: str = Field(
        "",
        description="words to name by: a text file, one per line, or a table of text vectors, `FILE.safetensors#KEY`; "
        "empty: `embed.vocabulary` if `model` is empty, too, else the words of `classes`, else the class names",
    )
    templates: tuple[str, ...] = Field(
        TEMPLATES, min_length=1, description="what a text tower reads, `{}` for the word; the mean over all"
    )
    items: int = Field(16, ge=1, le=1024, description="strongest exemplars of each cluster that the model sees")
    null_sets: int = Field(
        400,
        ge=19,
        le=100_000,
        description="random sets of crops that names are compared with; p is at least 1 / (1 + it)",
    )

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if HOLE not in template:
                raise ValueError(f'each template must have {HOLE} where the word goes, got "{template}"')
        return templates
