"""Pure statistics: arrays in, numbers out; no files, no plots, no import of torch."""
