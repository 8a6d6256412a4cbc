"""Finished pictures: how like a person their faces are (``likeness``), and faces drawn again (``refine``)."""
