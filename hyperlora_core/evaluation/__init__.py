"""The comparison of identity methods: the same people, prompts and seeds drawn by each, and what is measured of it.

``methods`` are ComfyUI workflows with named slots, ``protocol`` what is drawn with each, ``drawing`` draws it on
servers. ``clip_scores`` and ``face_scores`` describe pictures, ``scoring`` measures them by that, ``statistics`` says
how far the numbers can be believed. ``tables`` and ``page`` are the report; ``command`` is what a user calls.
"""
