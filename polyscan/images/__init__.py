"""Where images come from: class folders, Parquet files, torchvision's sets and scikit-learn's digits, at any address.

Law: a source is a fixed list. Its ids depend on its content alone, every id is read or refused with a reason, and
nothing is ever downloaded to make a source.
"""

from polyscan.images.opening import open_images
from polyscan.images.options import ImageOptions
from polyscan.images.source import ImageSource, Picture, Reject

__all__ = ["ImageOptions", "ImageSource", "Picture", "Reject", "open_images"]
