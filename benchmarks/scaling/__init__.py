"""How time, memory and pages grow: with images, units, workers and runs, and what `plan` makes of it."""
