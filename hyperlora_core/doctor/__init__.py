"""What can be said of an installation and its files.

``summary`` is the report that ``hyperlora doctor`` and the node print, from ``environment`` (versions, device, face
runtime), ``other_packs`` (what may come between) and ``inspection`` (what a model file or folder is).
"""
