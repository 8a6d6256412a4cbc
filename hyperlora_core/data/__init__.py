"""The data of training: sets of pictures that hold one face each, prepared once (``prepare``) and read at random.

``shards`` is the format and its reader. Of the preparation, ``sources`` is where pictures come from, ``checks`` what
they have to be, ``duplicates`` which of them are the same, ``captioners`` what describes them, ``withdrawal`` how they
are taken out again, ``report`` and ``report_page`` what is said of it all; ``jobs`` do it, on the ``engine``, in the
folders of ``work``; ``command`` is what a user calls.
"""
