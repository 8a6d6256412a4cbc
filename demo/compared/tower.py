"""The CLIP that judges: a small one with both halves, as open_clip loads them, which learned this world's captions.

No method was trained with it. The pictures that it learns on are of none of the people who are compared.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg, tokenize
from torch import Tensor

from demo.cache import build_once, recipe_hash
from demo.drawn import drawing, people, scenes
from demo.drawn.drawing import SIZE
from demo.trained import fitting, judging, pictures
from hyperlora_core.clip.vision import MEAN, STD, normalised
from hyperlora_core.evaluation.clip_scores import CONFIG, WEIGHTS

EMBED = 64
VISION = {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
RECIPE = fitting.Recipe(steps=2000, batch=64, rate=1e-3, average=0.995)


def folder() -> Path:
    """The folder that ``hyperlora evaluate --clip`` takes; trained once, in some ten minutes."""
    recipe = recipe_hash(*drawing.SOURCES, judging.__file__, __file__)
    return build_once(f"drawn-people-open-clip-{recipe}", _train)


def _train(into: Path) -> None:
    torch.manual_seed(0)
    tower = CLIP(EMBED, CLIPVisionCfg(**VISION), CLIPTextCfg(**TEXT))
    drawn = pictures.drawn_pictures()
    everyone, everywhere = pictures.persons(range(len(drawn))), pictures.settings(range(len(drawn)))

    def loss(chance: torch.Generator, count: int) -> Tensor:
        chosen = torch.randint(len(drawn), (count,), generator=chance)
        shown = judging.spoilt(drawn[chosen].float() / 255, chance)
        texts = [
            scenes.caption(everywhere, number, people.described(everyone[number]), chance) for number in chosen.tolist()
        ]
        seen = tower.encode_image(normalised(shown * 255), normalize=True)
        read = tower.encode_text(tokenize(texts), normalize=True)
        logits = tower.logit_scale.exp().clamp(max=100) * seen @ read.T
        own = torch.arange(count)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    fitting.fit(into / WEIGHTS, tower, loss, RECIPE)
    described = {"embed_dim": EMBED, "vision_cfg": VISION, "text_cfg": TEXT}
    normal = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (into / CONFIG).write_text(json.dumps({"model_cfg": described, "preprocess_cfg": normal}))
