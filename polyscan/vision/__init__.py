"""The only room that knows torch: networks, readouts, fields, peaks, embedders, distances, feature visualization."""
