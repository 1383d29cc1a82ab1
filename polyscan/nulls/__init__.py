"""What a single-concept unit looks like, and units of known ground truth: pure functions of arrays.

    readouts     single-concept units: linear readouts of a layer, each tuned to one exemplar
    thinning     which images a readout reads, so that some null sets are looser than others
    null_sets    null sets drawn from embeddings instead, and how often each null was measured to call sets several
    coherence    how alike random items are: evidence that is less alike is not coherent
    planting     which units to plant together        kinds    the kinds of planted units
    calibration  a score against equally homogeneous null sets: mean, sd and p

The null, the controls and the planted units go through the same steps as a layer's units: they are scanned as virtual
units of the layer (`polyscan.inputs.virtual`).
"""
