"""Several devices, in threads."""

import sys
import threading

import pytest
import torch

from tests.host.in_process.sampling import (
    STRENGTH,
    check,
    half,
    noise,
    sample,
)
from tests.host.in_process.unets import SMALL, patcher


def test_prompts_are_drawn_in_threads_each_on_its_device(comfy, base, strong_people, door):
    """ComfyUI's own multi-GPU code, with two names of the CPU as two devices."""
    pytest.importorskip("comfy.multigpu", reason="this ComfyUI draws on one GPU alone")
    second_device = patcher(comfy, "Segmind_Vega", SMALL)
    second_device.is_multigpu_base_clone, second_device.load_device = True, torch.device("cpu:0")
    masks = [half("left"), half("right")]
    start = noise(9, batch=2)
    for layers in (door.per_item(strong_people[:2], STRENGTH), door.in_regions(strong_people[:2], masks, STRENGTH)):
        model = door.add_layers(base, layers)
        expected = sample(model, start=start)
        several = model.clone()
        several.set_additional_models("multigpu", [second_device])
        threads = set()
        several.set_model_unet_function_wrapper(
            lambda apply, args, ids=threads: (
                ids.add(threading.get_ident()),
                apply(args["input"], args["timestep"], **args["c"]),
            )[1]
        )
        check("two devices", sample(several, start=start), expected)
        assert len(threads) == 2 and threading.get_ident() not in threads


def test_masks_are_whole_when_another_thread_sees_them(comfy, base, strong_people, door):
    from hyperlora_core.doors.comfyui.runtime.calls import Conditioning, UNetCall
    from hyperlora_core.doors.comfyui.runtime.pictures import SampledBatch

    model = door.add_layers(base, door.in_regions(strong_people[:2], [half("left"), half("right")]))
    runtime = model.get_wrappers("apply_model", "hyper_lora")[0].__self__
    call = UNetCall(torch.zeros(2, 4, 64, 64), [Conditioning()] * 2, {}, SampledBatch((0,), 64, 64))
    parts, interval, sizes = call.parts(()), sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            runtime.clear()
            barrier = threading.Barrier(8)

            def look(wait=barrier) -> None:
                wait.wait()
                sizes.append(len(runtime.token_masks(call, parts).by_size))

            threads = [threading.Thread(target=look) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sizes == [4] * 40
    elsewhere = UNetCall(call.x.to("meta"), call.conditionings, {}, call.batch)
    for one_call, device in ((call, "cpu"), (elsewhere, "meta")):
        assert {mask.device.type for mask in runtime.token_masks(one_call, parts).by_size.values()} == {device}
