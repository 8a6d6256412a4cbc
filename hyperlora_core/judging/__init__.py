"""Finished pictures: how like a person their faces are, and what follows from that.

- ``likeness``: ``judge`` compares the faces of pictures with a ``Person``, ``select`` keeps the best.
- ``until_alike``: ``sample_until_alike`` goes on from seed to seed until a picture is like enough.
- ``redraw``: ``redraw_faces`` draws each face again as its person; ``refine`` cuts faces out and says whose each is.
"""
