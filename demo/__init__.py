"""The first run on a bare machine: ComfyUI, photos, stand-in face models, a small world of drawn people and its models.

Nothing of it is part of the node pack.
"""
