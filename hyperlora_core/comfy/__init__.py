"""ComfyUI over HTTP: what a queue of prompts needs, without torch.

``client`` speaks to one server, ``events`` listens to its websocket, ``jobs`` are people x prompts x seeds filled into
a workflow, ``queue`` draws them on several servers and goes on where it was.
"""
