"""Everything for a first run on a bare machine: ComfyUI, photos, stand-in face models, random models, one portrait.

The tests stand on it too. Nothing of it is part of the node pack.
"""
