"""ComfyUI over HTTP: what a queue of prompts needs, without torch.

``client`` speaks to one server, ``events`` listens to its websocket. ``jobs`` are people x prompts x seeds,
``workflows`` fills a job into a workflow, ``tasks`` holds a job with its workflow. ``queue`` draws tasks on several
servers and goes on where it was, by the log that ``manifest`` keeps.
"""
