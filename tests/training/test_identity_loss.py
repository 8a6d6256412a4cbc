"""The identity loss: the embedder in torch is the one in ONNX, gradients are right, and it is in the loss."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRAError, open_photo
from hyperlora_core.data.shards import Shards
from hyperlora_core.doors.diffusers.base_model import BaseModel, in_full
from hyperlora_core.doors.diffusers.unet import LoRAInjection, attention_modules
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.config import RECIPES, IdentityConfig
from hyperlora_core.training.forward import Conditions, GeneratedLoRAs
from hyperlora_core.training.fresh import fresh
from hyperlora_core.training.identity_loss import (
    DrawnIdentityLoss,
    FaceEmbedding,
    PredictedIdentityLoss,
    align,
)
from hyperlora_core.training.loop import Run
from hyperlora_core.training.losses import Batch, Prediction
from hyperlora_core.training.objective import Objective
from hyperlora_core.training.portraits import PortraitTask
from hyperlora_core.training.shape import NetworkShape

NO_PREDICTION = None
"""Pictures that are drawn from noise need none."""


@pytest.fixture(scope="module")
def analyzer(face_pack):
    return FaceAnalyzer.load(face_pack)


@pytest.fixture(scope="module")
def embedding(analyzer):
    return FaceEmbedding(analyzer.models.embedder_file)


def pixels(photo: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.long
@pytest.mark.parametrize("half", [False, True])
def test_faces_are_read_as_insightface_reads_them(photos, analyzer, embedding, half):
    embeds = {}
    for name in ("obama", "obama2", "biden"):
        photo = open_photo(photos[name])
        face = analyzer.detect(photo, embed=True)[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=half), in_full(torch.device("cpu")):
            embeds[name] = embedding(align(pixels(photo), face.keypoints)[None])[0]
        assert float(embeds[name] @ torch.from_numpy(face.embedding)) > 0.995
    assert embeds["obama"] @ embeds["obama2"] > 0.2 + embeds["obama"] @ embeds["biden"]


def test_beyond_a_pictures_edge_it_is_black_as_for_insightface(photos, analyzer):
    from insightface.utils.face_align import norm_crop

    photo = open_photo(photos["obama"])
    left, top, *_ = (int(edge) for edge in analyzer.detect(photo)[0].box)
    photo = photo.crop((left + 20, top + 20, *photo.size))
    points = analyzer.detect(open_photo(photos["obama"]))[0].keypoints - np.array([left + 20, top + 20])
    ours = align(pixels(photo), points)
    theirs = pixels(norm_crop(np.array(photo), points.astype(np.float32)))
    assert ours.min() == -1 and (ours == -1).all(0).float().mean() > 0.03
    assert (ours - theirs).abs().mean() < 0.01


def test_gradients_flow_back_into_the_picture(photos, analyzer, embedding):
    photo = open_photo(photos["astronaut"])
    face = analyzer.detect(photo)[0]
    picture, other = pixels(photo).requires_grad_(), torch.nn.functional.normalize(torch.ones(512), dim=0)

    def likeness(shown):
        return embedding(align(shown, face.keypoints)[None])[0] @ other

    before = likeness(picture)
    before.backward()
    grad = picture.grad
    left, top, right, bottom = (int(edge) for edge in face.box)
    assert grad[:, top:bottom, left:right].abs().sum() > 0.5 * grad.abs().sum(), "from the face's pixels most of all"
    with torch.no_grad():
        along = picture + 0.5 * grad / grad.norm()
        assert likeness(along) > before and likeness(2 * picture - along) < before


@pytest.fixture
def small(base_folder, photos):
    """A task whose VAE decodes to a real face, so that one is found: the noise adds to a photo."""
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    face = pixels(open_photo(photos["astronaut"]).crop((120, 0, 332, 212)).resize((256, 256))).mul(0.9)

    def pictures(latents):
        stretched = torch.nn.functional.interpolate(latents[:, :3], size=face.shape[1:], mode="bilinear")
        return (face[None] + 0.02 * stretched).clamp(-1, 1)

    base.pictures = pictures
    return base


@pytest.mark.long
def test_it_reaches_the_bases_and_counts_faces_alone(small, analyzer, clip_file, training_set, tmp_path, monkeypatch):
    told = IdentityConfig(weight=0.5, faces=str(analyzer.path), steps=2, resolution=64)
    config = replace(
        RECIPES["id_clip"],
        steps=2,
        resolution=64,
        mixed_precision="no",
        workers=0,
        batch=2,
        samples_per_step=2,
        identity=told,
        gradient_checkpointing=False,
    )
    shape = NetworkShape(bases=4, dim=32, heads=1, depth=1, clip_width=64)
    network = fresh(shape.config(attention_modules(small.unet)), seed=0)
    loras = GeneratedLoRAs.of_run(network, config)
    task = PortraitTask(small, ClipVision.load(clip_file), Shards(training_set), network.config, config, loras.makes)
    batch = next(iter(task.batches(iter([range(2)]))))
    injection = LoRAInjection(small.unet, loras.targets)
    loss = DrawnIdentityLoss(small, analyzer, told, loras.targets, config.seed)
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            small.unet.enable_gradient_checkpointing(injection.checkpoint)
        network.zero_grad()
        value = loss(loras(batch.conditions), batch, injection, NO_PREDICTION)
        value.backward()
        ups = {name: each.grad for name, each in network.named_parameters() if "id_bases" in name and ".up." in name}
        assert 0.2 < value.item() < 1.8 and sum(grad.abs().sum() for grad in ups.values()) > 0
        grads.append({name: grad.clone() for name, grad in ups.items()})
    small.unet.disable_gradient_checkpointing()
    assert all(torch.allclose(grads[0][name], grads[1][name], atol=1e-6) for name in grads[0])
    kinds = []
    read = loss.embedding.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = loss(loras(batch.conditions), batch, injection, NO_PREDICTION)
    read.remove()
    assert {half.dtype, *kinds} == {torch.float32} and half.item() == pytest.approx(value.item(), abs=0.05)
    blank = small.pictures
    small.pictures = lambda latents: torch.zeros(1, 3, 256, 256)
    assert loss(loras(batch.conditions), batch, injection, NO_PREDICTION).item() == 0, "no face, no loss"
    small.pictures = blank
    of_picture, alone = loss._face, []
    for seen in (0, 1):  # each sample's part is of all samples, not of those on whose pictures a face is found
        places = iter(range(2))

        def face(picture, seen=seen, places=places):
            return of_picture(picture) if next(places) == seen else None

        monkeypatch.setattr(loss, "_face", face)
        alone.append(loss(loras(batch.conditions), batch, injection, NO_PREDICTION).item())
    assert sum(alone) == pytest.approx(value.item(), rel=1e-3)
    monkeypatch.undo()
    injection.remove()

    def first_loss(losses, name):
        run = Run(config, task, loras, tmp_path / name, accelerator_for(config, tmp_path / name, cpu=True), losses)
        losses = []
        run.train(lambda at, loss: losses.append(loss))
        run.close()
        return losses[0]

    network.zero_grad()
    plain = first_loss([], "plain")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".up." in name:
                parameter.zero_()
    with_it = first_loss([loss], "more")
    assert with_it - plain == pytest.approx(0.5 * value.item(), rel=0.3)


@pytest.mark.long
def test_what_is_predicted_is_judged_where_the_face_is(photos, analyzer, embedding):
    """A UNet that knows the answer is as alike as the photo; one that knows another's face is not."""
    face = analyzer.detect(photo := open_photo(photos["obama"]).resize((256, 256)), embed=True)[0]
    own, reference = pixels(photo)[None], torch.from_numpy(face.embedding)
    objective = Objective(torch.linspace(0.999, 0.01, 1000), "v_prediction")
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    base = SimpleNamespace(device=torch.device("cpu"), pictures=lambda latents: latents)

    def loss(picture, timestep=200, on=1.0, wanted=reference):
        timesteps = torch.tensor([timestep])
        noised = objective.noised(own, noise, timesteps)
        signal, spread = objective._parts(timesteps, own)
        prediction = Prediction(timesteps, noised, (signal * noised - picture) / spread, own)
        conditions = Conditions(torch.tensor([on]), torch.zeros(1), torch.ones(1, 1), wanted[None, None])
        keypoints = torch.from_numpy((face.keypoints + 0.5) / 256)[None]
        batch = Batch(range(1), own, conditions, {}, keypoints=keypoints)
        return PredictedIdentityLoss(base, objective, analyzer, weight=1.0, until=0.5)({}, batch, None, prediction)

    assert loss(own).item() < 0.02
    assert loss(own, wanted=-reference).item() > 1.9
    assert loss(own.flip(-1).roll(40, -1)).item() > 0.2, "a face elsewhere is none"
    assert loss(own, timestep=600).item() == loss(own, on=0.0).item() == 0.0
    blurred = torch.nn.functional.avg_pool2d(own, 9, 1, 4).requires_grad_()
    (value := loss(blurred)).backward()
    assert loss(blurred - 3 * blurred.grad / blurred.grad.norm()) < value


def test_values_that_cannot_be_are_told(tmp_path):
    for wrong, sentence in (
        ({"weight": 1.0}, "needs face models"),
        ({"weight": -1.0}, "identity.weight is -1"),
        ({"grad_steps": 9}, "identity.grad_steps is 9"),
        ({"of": "seen"}, "identity.of is 'seen'"),
        ({"until": 0.0}, "identity.until is 0"),
        ({"of": "predicted", "unet": "lightning", "weight": 1.0, "faces": "x"}, "identity.unet draws pictures"),
    ):
        with pytest.raises(HyperLoRAError, match=sentence):
            IdentityConfig(**wrong)
    (tmp_path / "none.onnx").write_bytes(b"nothing")
    with pytest.raises(HyperLoRAError, match="cannot be used for the identity loss"):
        FaceEmbedding(tmp_path / "none.onnx")


def test_a_few_step_unet_of_its_own_is_loaded_from_a_file(base_folder, tmp_path):
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    weights = {name: value + 1e-3 for name, value in base.unet.state_dict().items()}
    save_file(weights, tmp_path / "lightning.safetensors")
    other = base.other_unet(str(tmp_path / "lightning.safetensors"))
    assert all(torch.equal(value, weights[name]) for name, value in other.state_dict().items())
    save_file({"conv_in.weight": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(HyperLoRAError, match=r"wrong\.safetensors cannot be loaded beside this base model"):
        base.other_unet(str(tmp_path / "wrong.safetensors"))
