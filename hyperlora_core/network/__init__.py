"""The network and its files: photos' embeddings and tokens in, LoRA coefficients and matrices out.

``config`` reads its hyperparameters off a checkpoint's shapes, ``resampler`` turns conditions into rows of
coefficients, ``rows`` averages and scales these, ``bases`` turns them into matrices, ``hyperlora`` is the module that
joins them. ``base_models`` are those that it can be for. ``layout`` names what the two layouts on disk hold,
``checkpoint`` reads either, ``conversion`` makes one of the other, ``samples`` looks for numbers that are broken.
"""
