"""A small world with known truth, on which the real training code is seen to learn: ``make toy-world``."""
