"""One measurement in a process of its own: ``python -m benchmarks.once ours|reference|streamed FOLDER DEVICE``.

``ours`` and ``reference`` open a checkpoint and make one LoRA; ``streamed`` makes one by ComfyUI's leaves, with the
bases where they lie. Prints seconds and bytes as a line of JSON.
"""

import ctypes
import gc
import json
import sys
from pathlib import Path

import torch

from .inputs import tokens
from .measure import PeakMemory, resident, timed


def first_lora(way: str, folder: Path, device: torch.device) -> dict[str, object]:
    """Open, and make the first LoRA: seconds, and peaks of memory, anonymous and file-backed apart."""
    from hyperlora_core.network.hyperlora import HyperLoRA

    from .reference import Reference

    embeds, clip = tokens(1)
    opened: list = []
    with torch.inference_mode(), PeakMemory() as peak:
        if way == "ours":
            opening = timed(lambda: opened.append(HyperLoRA.load(folder, device, compute_dtype(device))), device)
            first = timed(lambda: opened[0].id_lora(opened[0].id_coefficients(embeds, clip)).cpu(), device)
        else:
            opening = timed(lambda: opened.append(Reference(folder).to(device, compute_dtype(device))), device)
            first = timed(lambda: opened[0].lora(opened[0].coefficients(embeds, clip)), device)
    return {"open": opening, "first": first, "anonymous": peak.anonymous, "file": peak.file}


def streamed(folder: Path, device: torch.device) -> dict[str, object]:
    """Bytes that making a LoRA takes beyond resampler and result, and how far it is from the one made of all at once.

    On a CPU, of the process's anonymous memory; else of the device's.
    """
    from .host_rows import import_comfy

    import_comfy(device)
    from hyperlora_core.doors.comfyui import patching
    from hyperlora_core.network.hyperlora import HyperLoRA

    embeds, clip = tokens(1)
    with torch.inference_mode():
        network = HyperLoRA.load(folder, "cpu", compute_dtype(device), operations=patching.Operations)
        network.compute_device = device
        network.id_projector.to(device)
        network.resampler.to(device)
        coefficients = network.id_coefficients(embeds, clip)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            lora = network.id_lora(coefficients)
            peak = torch.cuda.max_memory_allocated(device)
        else:
            before = resident()["RssAnon"]
            with PeakMemory() as watch:
                lora = network.id_lora(coefficients)
            peak = watch.anonymous
        result = sum(value.nbytes for value in lora.values())
        whole = HyperLoRA.load(folder, device, compute_dtype(device)).id_lora(coefficients)
        error = max(float((lora[key] - whole[key]).abs().max() / whole[key].abs().max()) for key in whole)
    return {"beyond": peak - before - result, "result": result, "error": error}


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type that both sides compute in."""
    return torch.float32 if device.type == "cpu" else torch.float16


def main(way: str, folder: str, device: str) -> None:
    """Measure one way."""
    place = torch.device(device)
    measured = streamed(Path(folder), place) if way == "streamed" else first_lora(way, Path(folder), place)
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
