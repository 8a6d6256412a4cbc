"""``hyperlora evaluate`` on the world of drawn people: the paper's table, for this world."""
