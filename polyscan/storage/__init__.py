"""The only place that touches files: a folder on disk or on an object store, through fsspec.

Law: a file is either whole or not there. On a disk it is written aside, flushed and renamed; on an object store it
is one PUT. What an object store is asked is asked again for a while where it doesn't answer; nothing that it was asked
before is remembered, because other processes write there, too.
"""

from polyscan.storage.damage import is_damage
from polyscan.storage.folder import Storage
from polyscan.storage.urls import masked, refuse_secret

__all__ = ["Storage", "is_damage", "masked", "refuse_secret"]
