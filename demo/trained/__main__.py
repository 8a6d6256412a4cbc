"""``python -m demo.trained PART``: train a part of the small base, or what is left of it."""

import argparse
import logging
from pathlib import Path

from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor

from demo import face_pack
from demo.cache import cache_dir
from hyperlora_core import FaceAnalyzer
from hyperlora_core.data.shards import Shards
from hyperlora_core.files import atomic
from hyperlora_core.training.identity_loss import FaceEmbedding

from . import base, clip, folders, judging, vae
from .pictures import drawn_pictures


def folder() -> Path:
    """Where states and results lie."""
    return cache_dir() / "drawn-models"


def trained_vae() -> AutoencoderTiny:
    """The small VAE, before its decoder looked at faces."""
    small = vae.network()
    small.load_state_dict(load_file(folder() / "vae-1.safetensors"))
    return small


def trained_base() -> Path:
    """The small base; places that matter are found anew, in a minute."""
    small = trained_vae()
    acting = (None, base.where_words_act(small), base.where_people_differ(small))
    return base.train(folder() / "base.safetensors", latents(), acting)


def decoder() -> Path:
    """The small VAE, whose decoder looked at the faces of the training set."""
    judging_faces = FaceEmbedding(FaceAnalyzer.load(face_pack.face_pack()).models.embedder_file)
    return vae.see_faces(folder() / "vae.safetensors", trained_vae(), Shards(folder() / "set"), judging_faces)


def latents() -> Tensor:
    """Of all pictures, encoded once."""
    path = folder() / "latents.safetensors"
    if not path.exists():
        with atomic.writing(path) as part:
            save_file({"latents": vae.encoded(trained_vae(), drawn_pictures())}, part)
    return load_file(path)["latents"]


def clip_vision() -> None:
    """The trained encoder, and alone as ComfyUI's ``models/clip_vision`` has it."""
    trained = load_file(clip.train(folder() / "clip.safetensors"))
    alone = {name: folders.as_kept(value) for name, value in clip.encoder_state(trained).items()}
    save_file(alone, folder() / folders.CLIP.name)


PARTS = {
    "vae": lambda: vae.train(folder() / "vae-1.safetensors"),
    "latents": latents,
    "base": trained_base,
    "clip": clip_vision,
    "judge": lambda: judging.train(folder() / "judge.safetensors"),
    "decoder": decoder,
    "diffusers": lambda: folders.write_diffusers(folder() / "diffusers", folder()),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.trained", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    args = parser.parse_args()
    PARTS[args.part]()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
