"""The comparison of identity methods: the same people, prompts and seeds drawn by each, and what is measured of it.

``methods`` are ComfyUI workflows with named slots, ``protocol`` and ``plan`` what is drawn with each; ``run`` has it
drawn on servers by the batch queue. ``clip_scores`` and ``face_scores`` describe pictures, ``scoring`` measures them by
that, ``statistics`` says how far the numbers can be believed. ``tables``, ``lines``, ``page`` and ``report`` are the
report; ``command`` is what a user calls.
"""
