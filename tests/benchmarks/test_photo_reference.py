"""The reference for photos sees what our own way sees."""

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.photo_reference import PhotoReference
from hyperlora_core import ClipVision, FaceAnalyzer, find_references, open_photo
from hyperlora_core.faces import crops


@pytest.mark.long
def test_the_reference_gives_our_embedding_and_tokens(face_pack, photos, tmp_path):
    """Of the astronaut it may not: that face's box ends between two pixels, see ``least_cosine``."""
    torch.manual_seed(0)
    small = CLIPVisionConfig(hidden_size=64, num_hidden_layers=3, num_attention_heads=2, intermediate_size=128)
    CLIPVisionModel(small).save_pretrained(tmp_path)
    clip, analyzer = ClipVision.load(tmp_path), FaceAnalyzer.load(face_pack)
    seen_by = PhotoReference(face_pack, tmp_path, torch.device("cpu"), torch.float32)
    for name in ("obama", "biden", "group"):
        photo = open_photo(photos[name])
        (reference,) = find_references(analyzer, [photo])
        embed, tokens = seen_by(photo)
        assert float(embed[0] @ torch.from_numpy(reference.id_embed)) > 0.9999
        picture = crops.id_image(photo, reference.face.landmarks)
        torch.testing.assert_close(tokens, clip.tokens(clip.preprocess([picture])), rtol=1e-3, atol=1e-3)
