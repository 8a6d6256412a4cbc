"""What nodes share of ComfyUI.

``folders`` and ``saving`` are where files lie, ``settings`` what a user chose, ``routes`` answers the editor,
``progress`` tells how far a node is, ``cache`` keeps results, ``sockets`` are the inputs that several nodes have.
"""
