"""The data of training: sets of pictures that hold one face each, prepared once (``prepare``) and read at random.

``shards`` is the format and its reader.
"""
