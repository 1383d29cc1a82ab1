"""Image sources: class folders and Parquet files at any address, torchvision's data sets, scikit-learn's digits.

Law: a source is a fixed list. Its ids depend on its content alone, every id is read or refused with a reason, and
nothing is downloaded to open a source. Where labels come from and what is left out is said.
"""

from polyscan.images.content import changed_files, checksum, checksums
from polyscan.images.opening import open_images
from polyscan.images.options import ImageOptions
from polyscan.images.source import ImageSource, Picture, PictureReader, Reject

__all__ = [
    "ImageOptions",
    "ImageSource",
    "Picture",
    "PictureReader",
    "Reject",
    "changed_files",
    "checksum",
    "checksums",
    "open_images",
]
