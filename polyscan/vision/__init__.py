"""The only room that knows torch: networks, read-outs, fields, peaks, embedders, distances, feature visualization."""
