"""What a unit of one concept looks like, and units of known truth: pure functions of arrays.

    readouts     units of one concept: linear readouts of a layer, each tuned to one exemplar
    thinning     which images a readout reads, so that some null sets are looser than others
    null_sets    null sets that are drawn from embeddings instead, and what each null was measured to call several
    coherence    how alike random items are: below that a unit's evidence is not coherent
    planting     which units to plant together        kinds    the kinds of planted units
    calibration  a score against the null sets that are as homogeneous: its mean, sd and p

What a unit goes through, its null, its controls and its plants go through: they are scanned as virtual units of its
layer (`polyscan.inputs.virtual`).
"""
