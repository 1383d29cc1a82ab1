"""The only place that touches files: a folder on disk or on an object store, through fsspec.

Law: a file is either whole or not there. On a disk it is written under a temporary name, flushed and renamed; on an
object store it is one PUT. Requests that an object store does not answer are repeated for a while. Its answers are not
cached, because other processes write there, too.
"""

from polyscan.storage.damage import is_damage
from polyscan.storage.folder import Storage
from polyscan.storage.names import from_printable, printable
from polyscan.storage.urls import masked, refuse_secret

__all__ = ["Storage", "from_printable", "is_damage", "masked", "printable", "refuse_secret"]
