"""Everything that runs networks: readouts, receptive fields, peaks, embedders, distances, feature visualization.

Besides this package only `inputs`, the stages that hold a network (survey, collect, visualize, embed) and the plan may
import torch; the import contracts in pyproject.toml say so.
"""
