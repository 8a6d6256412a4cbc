"""Drawn people: portraits made of numbers and words, on which the demo models are trained and judged."""
