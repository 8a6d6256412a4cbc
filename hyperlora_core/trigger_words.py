"""The words that a prompt begins with: HyperLoRA was trained with them in every caption."""

TRIGGER_WORDS = "fcsks fxhks fhyks"
