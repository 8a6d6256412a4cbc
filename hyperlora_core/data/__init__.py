"""The data of training: sets of pictures that hold one face each, prepared once (``prepare``) and read at random.

``shards`` is the format and its reader. The rest prepares a set: ``sources`` reads pictures, ``checks`` accepts or
rejects them, ``near_pairs`` finds those that show the same and ``duplicates`` decides which are dropped,
``captioners`` describe, ``withdrawal`` takes pictures out again, ``report`` and ``report_page`` write the report.
``jobs`` is the work on one unit, ``engine`` spreads it over processes, ``work`` is the folder it happens in;
``prepare`` runs all steps, and ``command`` is what a user calls.
"""
