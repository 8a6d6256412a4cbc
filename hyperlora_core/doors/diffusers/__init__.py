"""diffusers: what training uses of it.

``unet`` adds LoRAs to a UNet's forward, ``base_model`` opens folders and checkpoint files, ``unets`` knows the shapes
of published UNets, ``averaging`` keeps the moving average of weights.
"""
