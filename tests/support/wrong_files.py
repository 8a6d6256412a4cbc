# ruff: noqa: E501 - a table is read row by row
"""Every kind of wrong file that users are known to have, made small and real, and what has to be said of it.

The core is tried with each (``tests/core/test_wrong_files.py``), and so is ComfyUI's server over its API
(``tests/host/test_fault_table.py``).
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save, save_file

from hyperlora_core.network.conversion import convert
from hyperlora_core.network.layout import MODULES_JSON

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 149500160\n"
HTML = b"<!DOCTYPE html>\n<html><body>Please log in to accept the licence.</body></html>"


@dataclass(frozen=True)
class WrongFile:
    """A row of the table.

    Attributes:
        name: of the file or folder, as the load node lists it.
        make: writes it to a path, out of a good checkpoint's folder or a good face pack.
        message: what the error has to hold.
    """

    name: str
    make: Callable[[Path, Path], object]
    message: str


def tensors(*names: str, shape: tuple[int, ...] = (4, 4)) -> bytes:
    return save({name: torch.ones(shape) for name in names})


def writes(content: bytes) -> Callable[[Path, Path], object]:
    return lambda path, _: path.write_bytes(content)


def pickled(value: object) -> bytes:
    """A file as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def linked(path: Path, good: Path, without: Iterable[str] = ()) -> Path:
    """A folder with links to another's files."""
    path.mkdir(parents=True)
    for file in good.iterdir():
        if file.name not in without:
            (path / file.name).symlink_to(file)
    return path


def with_part(part: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Path, Path], object]:
    """A checkpoint's folder in which one file is something else."""

    def make(path: Path, good: Path) -> None:
        spoilt = content if isinstance(content, bytes) else content((good / part).read_bytes())
        (linked(path, good, {part}) / part).write_bytes(spoilt)

    return make


def without(part: str) -> Callable[[Path, Path], object]:
    return lambda path, good: linked(path, good, {part})


def edited(part: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path, Path], object]:
    """A checkpoint's folder in which the tensors of one file were changed."""

    def make(path: Path, good: Path) -> None:
        changed = {name: tensor.clone() for name, tensor in load_file(good / part).items()}
        change(changed)
        save_file(changed, linked(path, good, {part}) / part)

    return make


def modules(change: Callable[[list], object]) -> Callable[[bytes], bytes]:
    """The JSON of modules, its (name, widths) pairs changed."""

    def edit(text: bytes) -> bytes:
        pairs = list(json.loads(text).items())
        change(pairs)
        return ("{" + ", ".join(f"{json.dumps(name)}: {json.dumps(widths)}" for name, widths in pairs) + "}").encode()

    return edit


def one_file(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], object]:
    """Our single file, its bytes changed."""

    def make(path: Path, good: Path) -> None:
        convert(good, path)
        path.write_bytes(change(path.read_bytes()))

    return make


def flipped(data: bytes) -> bytes:
    """One bit of the last tensor's middle changed."""
    place = len(data) - 1000
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def made_lora() -> bytes:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    state = {f"{key}.lora_down.weight": torch.ones(8, 4), f"{key}.lora_up.weight": torch.ones(4, 8)}
    return save(state, {"hyperlora.checkpoint": "sdxl_hyper_id_lora_v1_edit"})


IP_ADAPTER = {"image_proj": {"proj.weight": torch.ones(4, 4)}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(4, 4)}}
INSTANT_ID = {"image_proj": {"latents": torch.ones(1, 2, 8), "proj_in.weight": torch.ones(8, 512)}, "ip_adapter": {}}
IP_ADAPTER_PLUS = {"image_proj": {"latents": torch.ones(1, 2, 8), "proj_in.weight": torch.ones(8, 1280)}}
RESAMPLER, BASES, PROJECTOR = "resampler.safetensors", "hyper_lora_modules.safetensors", "id_projector.safetensors"

CHECKPOINTS = (
    WrongFile("lfs", with_part(RESAMPLER, LFS), "resampler.safetensors is a Git LFS pointer, not the file itself"),
    WrongFile("web_page", with_part(BASES, HTML), "hyper_lora_modules.safetensors is a web page, not a model"),
    WrongFile("cut_short", with_part(BASES, lambda data: data[: len(data) // 2]), "modules.safetensors is cut short"),
    WrongFile("cut_in_header", with_part(BASES, lambda data: data[:900]), "is cut short within its header"),
    WrongFile("empty", with_part(PROJECTOR, b""), "id_projector.safetensors is empty: download it again"),
    WrongFile("unfinished", with_part(RESAMPLER, bytes(9999)), "resampler.safetensors begins with zeros"),
    WrongFile("without_json", without(MODULES_JSON), "lacks hyper_lora_modules.json. Download it again, the whole folder"),
    WrongFile("without_bases", without(BASES), "lacks hyper_lora_modules.safetensors"),
    WrongFile("without_projector", without(PROJECTOR), "reads a face embedding and CLIP tokens, but id_projector is"),
    WrongFile("json_page", with_part(MODULES_JSON, HTML), "hyper_lora_modules.json cannot be read as the list of a"),
    WrongFile("json_cut", with_part(MODULES_JSON, lambda text: text[:-50]), "hyper_lora_modules.json cannot be read"),
    WrongFile("json_twice", with_part(MODULES_JSON, modules(lambda m: m.append(m[0]))), "lists a module twice"),
    WrongFile("json_short", with_part(MODULES_JSON, modules(lambda m: m.pop())), "these files are not of one checkpoint"),
    WrongFile("json_sorted", with_part(MODULES_JSON, modules(list.sort)), " instead of ("),
    WrongFile(
        "json_attn",
        with_part(MODULES_JSON, lambda text: text.replace(b'"cross_attention_dim": null', b'"cross_attention_dim": 2048')),
        "has cross_attention_dim 2048; attn2 reads the text and needs a width, attn1 null",
    ),
    WrongFile("swapped", with_part(RESAMPLER, tensors("0.weight", "0.bias", "2.weight", "2.bias")), "resampler.safetensors is the ID projector of a HyperLoRA and should be the resampler"),
    WrongFile("tensor_missing", edited(RESAMPLER, lambda t: t.pop("layers.1.norm_ff.weight")), "resampler: layers.1.norm_ff.weight is missing"),
    WrongFile("tensor_shape", edited(BASES, lambda t: t.update({"3.to_k.id_up_basis": torch.zeros(4, 8, 321)})), "hyper_lora_modules: 3.to_k.id_up_basis has shape (4, 8, 321) instead of (4, 8, 320)"),
    WrongFile("tensor_type", edited(PROJECTOR, lambda t: t.update({"2.bias": t["2.bias"].int()})), "id_projector: 2.bias is of type I32; F16, BF16, F32 can be used"),
    WrongFile("tensor_nan", edited(BASES, lambda t: t["0.to_q.id_up_basis"][0, 0].fill_(torch.nan)), "hyper_lora_modules: 0.to_q.id_up_basis holds NaN or infinite numbers"),
    WrongFile("tensor_more", edited(PROJECTOR, lambda t: t.update({"3.weight": torch.zeros(1)})), "id_projector: 3.weight is not part of a HyperLoRA"),
    WrongFile("kohya.safetensors", writes(tensors("lora_unet_down_blocks_0_attn.lora_up.weight")), "It is a LoRA in kohya's format: put it into models/loras"),
    WrongFile("diffusers.safetensors", writes(tensors("unet.down_blocks.0.attentions.0.to_q.lora_A.weight")), "It is a LoRA in diffusers' format: put it into models/loras"),
    WrongFile("old_diffusers.safetensors", writes(tensors("unet.mid_block.processor.to_q_lora.down.weight")), "It is a LoRA in diffusers' format: put it into models/loras"),
    WrongFile("peft.safetensors", writes(tensors("base_model.model.mid_block.to_q.lora_A.weight")), "It is a LoRA in PEFT's format: put it into models/loras"),
    WrongFile("lycoris.safetensors", writes(tensors("lora_unet_mid_block.hada_w1_a")), "It is a LyCORIS LoRA"),
    WrongFile("person_00001_.safetensors", writes(made_lora()), "It is a LoRA that the HyperLoRA 'sdxl_hyper_id_lora_v1_edit' made: put it into models/loras"),
    WrongFile("ip-adapter.safetensors", writes(tensors("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")), "It is an IP-Adapter: it belongs to another identity pack"),
    WrongFile("ip-adapter.bin", writes(pickled(IP_ADAPTER)), "It is an IP-Adapter, in a pickle: it belongs to another identity pack"),
    WrongFile("instantid.safetensors", writes(tensors("image_proj.latents", "image_proj.proj_in.weight", "ip_adapter.1.to_k_ip.weight", shape=(8, 512))), "It is an InstantID: it belongs to another identity pack"),
    WrongFile("instantid.bin", writes(pickled(INSTANT_ID)), "It is an InstantID, in a pickle: it belongs to another identity pack"),
    WrongFile("ip-adapter-plus.bin", writes(pickled(IP_ADAPTER_PLUS)), "It is an IP-Adapter, in a pickle: it belongs to another identity pack"),
    WrongFile("pulid.safetensors", writes(tensors("id_adapter.latents", "id_adapter_attn_layers.1.id_to_k.weight")), "It is a PuLID: it belongs to another identity pack"),
    WrongFile("photomaker.bin", writes(pickled({"id_encoder.visual_projection.weight": torch.ones(2), "lora_weights": {}})), "It is a PhotoMaker, in a pickle: it belongs to another identity pack"),
    WrongFile("sdxl.safetensors", writes(tensors("model.diffusion_model.input_blocks.0.0.weight")), "It is a whole Stable Diffusion checkpoint: it goes into models/checkpoints"),
    WrongFile("controlnet.safetensors", writes(tensors("controlnet_cond_embedding.conv_in.weight")), "It is a ControlNet: it goes into models/controlnet"),
    WrongFile("vae.safetensors", writes(tensors("decoder.conv_in.weight", "encoder.conv_in.weight")), "It is a VAE: it goes into models/vae"),
    WrongFile("clip_l.safetensors", writes(tensors("text_model.embeddings.token_embedding.weight")), "It is a CLIP text encoder"),
    WrongFile("only_part/modules.safetensors", writes(tensors("0.to_q.id_down_basis")), "It is the bases of a HyperLoRA: choose the folder that holds it"),
    WrongFile("unknown.pt", writes(pickled([1, 2, 3])), "is a zip or pickle file (.bin, .pt, .pth), which could run code when opened"),
    WrongFile("unknown.safetensors", writes(tensors("a", "b")), "It is none that is known"),
    WrongFile("pointer.safetensors", writes(LFS), "pointer.safetensors is a Git LFS pointer, not the file itself"),
    WrongFile("page.safetensors", writes(HTML), "page.safetensors is a web page, not a model"),
    WrongFile("one_cut.safetensors", one_file(lambda data: data[:-100]), "one_cut.safetensors is cut short"),
    WrongFile("one_flipped.safetensors", one_file(flipped), "is not as it was written, its checksum differs: download it again"),
    WrongFile("one_newer.safetensors", one_file(lambda data: data.replace(b'"hyperlora.format":"1"', b'"hyperlora.format":"2"')), "of format '2', and this version reads '1': update ComfyUI-HyperLoRA"),
)  # fmt: skip


def vision(width: int) -> bytes:
    """The beginning of a CLIP image encoder of a real width; one block, its shapes true."""
    prefix, size = "vision_model.", {1024: 14, 1280: 14, 1664: 14}[width]
    block = f"{prefix}encoder.layers.0."
    shapes = {
        f"{prefix}embeddings.class_embedding": (width,),
        f"{prefix}embeddings.position_embedding.weight": (257, width),
        f"{prefix}embeddings.patch_embedding.weight": (width, 3, size, size),
        f"{block}mlp.fc1.weight": (4 * width, width),
    }
    return save({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()})


CLIPS = (
    WrongFile("wrong_text.safetensors", writes(tensors("text_model.embeddings.token_embedding.weight")), "it is a CLIP text encoder: the vision model of the same CLIP is needed"),
    WrongFile("wrong_vit_h.safetensors", writes(vision(1280)), "is CLIP ViT-H/14, whose tokens are 1280 wide"),
    WrongFile("wrong_vit_bigg.safetensors", writes(vision(1664)), "is CLIP ViT-bigG/14, whose tokens are 1664 wide"),
    WrongFile("wrong_lora.safetensors", writes(tensors("lora_unet_x.lora_up.weight")), "it is a LoRA in kohya's format"),
    WrongFile("wrong_lfs.safetensors", writes(LFS), "wrong_lfs.safetensors is a Git LFS pointer"),
    WrongFile("wrong_page.safetensors", writes(HTML), "wrong_page.safetensors is a web page"),
)  # fmt: skip


def zipped(path: Path, pack: Path) -> None:
    path.mkdir()
    with zipfile.ZipFile(path / f"{path.name}.zip", "w") as archive:
        for file in pack.iterdir():
            archive.writestr(f"{path.name}/{file.name}", b"")


def zip_beside(path: Path, pack: Path) -> None:
    with zipfile.ZipFile(path.with_name(f"{path.name}.zip"), "w") as archive:
        archive.writestr("glintr100.onnx", b"")


def other_embedder(path: Path, pack: Path) -> None:
    """The same pack, but its embedder is another file of the same size and shape."""
    import onnx

    linked(path, pack, {"glintr100.onnx"})
    model = onnx.load(pack / "glintr100.onnx")
    model.doc_string = "another"
    onnx.save(model, path / "glintr100.onnx")


FACES = (
    WrongFile("zipped", zipped, "zipped.zip is still packed. Unpack it, so that its .onnx files lie in"),
    WrongFile("zip_beside", zip_beside, "zip_beside.zip is still packed. Unpack it, so that its .onnx files lie in"),
    WrongFile("no_models", lambda path, _: path.mkdir(), "there are no face models in"),
    WrongFile("corrupt", with_part("glintr100.onnx", lambda data: data[: len(data) // 2]), "glintr100.onnx cannot be read"),
    WrongFile("lfs_pointers", with_part("scrfd_10g_bnkps.onnx", LFS), "scrfd_10g_bnkps.onnx is a Git LFS pointer"),
    WrongFile("html_pages", with_part("2d106det.onnx", HTML), "2d106det.onnx is a web page, not a model"),
    WrongFile("incomplete", without("2d106det.onnx"), "lack 106 landmarks (antelopev2: 2d106det.onnx)"),
    WrongFile("no_embedder", without("glintr100.onnx"), "lack a face embedder (antelopev2: glintr100.onnx)"),
    WrongFile("other_embedder", other_embedder, "was trained with the face embedder antelopev2/glintr100.onnx ("),
)  # fmt: skip


def make_all(rows: Iterable[WrongFile], folder: Path, good: Path) -> None:
    """Write the wrong files of a table into a folder."""
    for row in rows:
        path = folder / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        row.make(path, good)
