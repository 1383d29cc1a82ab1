"""Opens what clusters are named by."""

from __future__ import annotations

from polyscan.errors import JobError
from polyscan.inputs.vocabulary import OF_EMBED, OF_NAME, vocabulary_digest
from polyscan.inputs.wording import with_vocabulary, words_of
from polyscan.job import Job
from polyscan.vision.devices import pick_device
from polyscan.vision.embedders import WORDLESS, Embedder, EmbedderRequest, load_embedder
from polyscan.vision.networks import Network
from polyscan.vision.own_sources import own_code_digest
from polyscan.vision.text_tables import is_text_table

FEWEST = 2


def counts_labels(job: Job) -> bool:
    """Whether a job's names are labels counted among exemplars, for which no model is needed."""
    library = job.embed.model.partition(":")[0]
    return not job.name.model and library in WORDLESS and not is_text_table(_vocabulary(job)[0])


def _vocabulary(job: Job) -> tuple[str, str]:
    """The vocabulary that clusters are named by, and the setting that names it."""
    if job.name.vocabulary or job.name.model:
        return job.name.vocabulary, OF_NAME
    return job.embed.vocabulary, OF_EMBED


def open_namer(job: Job, network: Network) -> Embedder | None:
    """The model that clusters are named by; None if it has no words and labels are counted.

    Raises:
        JobError: if it has no vectors for the vocabulary, or this has a single word.
        ModelError: if it can't be loaded.
    """
    if counts_labels(job):
        if job.name.vocabulary:
            raise JobError(
                f"`name.vocabulary` needs a model with words; `name.model` is empty, and `embed.model` "
                f"{job.embed.model} has none. Set `name.model`, as to open_clip:MODEL/WEIGHTS or conse:NETWORK"
            )
        return None
    of_name, of_embed = job.name, job.embed
    settings = of_name if of_name.model else of_embed
    request = EmbedderRequest(
        settings.model,
        lambda: network,
        job.folder,
        settings.input_px,
        pick_device(job.device),
        classes=of_name.classes or of_embed.classes,
        templates=of_name.templates,
    )
    vocabulary, setting = _vocabulary(job)
    namer = with_vocabulary(load_embedder(request), vocabulary, setting)
    if namer.words is None and not of_name.model:
        return None
    if (vocabulary or namer.known is not None) and len(names_of(job, namer, ())) < FEWEST:
        raise JobError(
            f"`{setting}` {vocabulary} has a single word; a name needs others that it is better than: give {FEWEST} "
            "words or more"
        )
    return namer


def names_of(job: Job, namer: Embedder, class_names: tuple[str, ...]) -> list[str]:
    """The words that clusters may be named by; none if there is neither a vocabulary nor a class."""
    vocabulary, setting = _vocabulary(job)
    return words_of(namer, vocabulary, class_names, setting)


def namer_digests(job: Job, namer: Embedder | None) -> dict[str, str]:
    """Digests of what names are made by."""
    if namer is None:
        return {"namer": "", "names": ""}
    return {
        "namer": namer.digest + own_code_digest(job.name.model or job.embed.model, job.folder),
        "names": vocabulary_digest(*_vocabulary(job)),
    }
