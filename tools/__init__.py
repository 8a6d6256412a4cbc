"""What makes files that are committed: example workflows, blueprints, ComfyUI's language files, help pictures."""
