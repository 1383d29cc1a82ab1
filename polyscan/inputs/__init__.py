"""What a worker opens: the network with its read points, images in batches, virtual readouts, and its threads."""

from polyscan.inputs.batches import Batch, batches
from polyscan.inputs.checking import check_network, check_worker, different_layers
from polyscan.inputs.collected import CollectedImages
from polyscan.inputs.crops import BOX, Crop, cut_out, embedded
from polyscan.inputs.directions import OwnDirections, check_directions, open_directions, read_directions
from polyscan.inputs.naming import counts_labels, names_of, open_namer
from polyscan.inputs.opening import (
    open_distance,
    open_embedder,
    open_images,
    open_network,
    open_reader,
    settled_job,
)
from polyscan.inputs.record import digests_and_facts
from polyscan.inputs.threads import pinned_threads
from polyscan.inputs.unchanged import check_unchanged, note_stamps
from polyscan.inputs.virtual import reaches, reading, virtual_readouts
from polyscan.inputs.vocabulary import vocabulary_digest, vocabulary_words
from polyscan.inputs.wording import with_vocabulary, words_of

__all__ = [
    "BOX",
    "Batch",
    "CollectedImages",
    "Crop",
    "OwnDirections",
    "batches",
    "check_directions",
    "check_network",
    "check_unchanged",
    "check_worker",
    "counts_labels",
    "cut_out",
    "different_layers",
    "digests_and_facts",
    "embedded",
    "names_of",
    "note_stamps",
    "open_directions",
    "open_distance",
    "open_embedder",
    "open_images",
    "open_namer",
    "open_network",
    "open_reader",
    "pinned_threads",
    "reaches",
    "read_directions",
    "reading",
    "settled_job",
    "virtual_readouts",
    "vocabulary_digest",
    "vocabulary_words",
    "with_vocabulary",
    "words_of",
]
