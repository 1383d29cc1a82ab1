"""Pure statistics: arrays in, numbers out; no file, no drawing, no torch of its own."""
