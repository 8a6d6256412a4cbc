"""Training a HyperLoRA: the paper's three stages, each a run of its own that begins with the checkpoint of the last.

``stages`` says what trains, ``forward`` makes the LoRAs of a batch, ``objective`` is the loss, ``counter`` the random
numbers.
"""
