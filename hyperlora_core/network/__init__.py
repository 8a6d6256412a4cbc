"""The network: photos' embeddings and tokens in, LoRA coefficients and matrices out.

`config` reads its hyperparameters off a checkpoint's shapes, `resampler` turns conditions into rows of coefficients,
`bases` turns coefficients into matrices, `hyperlora` is the module that joins them, `ops` holds the leaves with
weights.
"""
