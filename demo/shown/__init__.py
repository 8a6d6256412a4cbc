"""What the demo's models draw, measured through a real ComfyUI server on people that no run saw."""
