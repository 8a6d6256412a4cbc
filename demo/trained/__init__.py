"""The demo models that draw people: how they are trained, and what is built around them."""
