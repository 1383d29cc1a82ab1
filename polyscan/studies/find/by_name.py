"""Clusters by their names, where no model can say how near a text is to them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from polyscan.errors import JobError, nearest

SYNONYMS = re.compile(r"[,;]")
WORD = re.compile(r"[^\W_]+")


def likeness(text: str, name: str) -> float:
    """How like a name is: 1 if it, or one of its synonyms, has the same words; else the share of words in common.

    >>> likeness("Egyptian cat", "tabby, egyptian_cat"), likeness("cat", "Egyptian cat"), likeness("dog", "cat")
    (1.0, 0.5, 0.0)
    """
    wanted = _words(text)
    parts = [words for part in (name, *SYNONYMS.split(name)) if (words := _words(part))]
    return max((len(wanted & words) / len(wanted | words) for words in parts), default=0.0)


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold()))


def named(names: pd.DataFrame, text: str) -> pd.DataFrame:
    """The names that have words in common with a text: best likeness first, then largest similarity.

    Args:
        names: rows of the table `names`.
        text: what is looked for.

    Raises:
        JobError: if no name has a word of it.
    """
    known = names["name"].unique()
    likenesses = {str(name): likeness(text, str(name)) for name in known}
    found = names.assign(likeness=names["name"].map(likenesses).to_numpy(np.float64))
    found = found[found["likeness"] > 0]
    if found.empty:
        words = {word for name in known for word in (str(name), *_words(str(name)))}
        raise JobError(
            f'no cluster of this run has a name with a word of "{text}"; nearest: {nearest(text, sorted(words))}. The '
            f"run has {len(known):,} names and no model with words; scanned with one (name.model, as "
            "open_clip:MODEL/WEIGHTS), any text can be looked for"
        )
    return found.sort_values(["likeness", "similarity"], ascending=False, kind="stable")
