"""What is accepted, and what is stored of it."""

import errno
import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hyperlora_core import FaceAnalyzer, HyperLoRAError, open_photo
from hyperlora_core.data import checks, pictures, sources
from hyperlora_core.data.checks import REASONS, Checker, Limits
from hyperlora_core.data.pictures import MAX_SIDE
from hyperlora_core.data.sources import Item, Unit, items_of, units_of
from tests.data.album import EXPECTED


def as_file(photo: Image.Image, format: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    photo.save(file, format, **options)
    return file.getvalue()


@pytest.mark.long
def test_each_picture_of_the_album_is_accepted_or_rejected_for_its_reason(album, checker):
    (unit,) = units_of([album], 1000)
    found = {item.name: checker(item).reason for item in items_of(unit)}
    alone = {name: reason if "duplicate" not in reason else "" for name, reason in EXPECTED.items()}
    assert found == alone and list(found) == sorted(EXPECTED)
    assert set(EXPECTED.values()) - {""} <= REASONS.keys()


def test_an_accepted_picture_is_what_inference_sees_of_it(checker, analyzer, photos):
    given = photos["obama"].read_bytes()
    found = checker(Item("obama.jpg", given, "a caption", {"licence": "CC0"}, "him"))
    photo = open_photo(photos["obama"])
    (face,) = analyzer.detect(photo)
    assert found.reason == "" and found.sample.picture == given and found.sample.suffix == ".jpg"
    assert np.array_equal(found.sample.embed, analyzer.id_embedding(photo, face))
    assert np.array_equal(found.sample.landmarks, face.landmarks) and found.sample.caption == "a caption"
    assert found.sample.person == "him" and found.sample.source == {"licence": "CC0"}
    assert found.measured.keys() == {"face", "share", "score", "yaw", "pitch", "roll", "sharpness"}


def turned(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return as_file(photo.transpose(Image.Transpose.ROTATE_90), exif=exif, quality=95)


def with_alpha(photo: Image.Image) -> bytes:
    photo = photo.copy()
    photo.putalpha(255)
    return as_file(photo, "PNG")


def sixteen_bit(photo: Image.Image) -> bytes:
    return as_file(Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257), "PNG")


OTHERS = {
    "turned by EXIF": turned,
    "CMYK": lambda photo: as_file(photo.convert("CMYK")),
    "grey": lambda photo: as_file(photo.convert("L")),
    "alpha": with_alpha,
    "16 bits": sixteen_bit,
    "palette": lambda photo: as_file(photo.convert("P"), "GIF"),
    "TIFF": lambda photo: as_file(photo, "TIFF"),
    "larger than is kept": lambda photo: as_file(photo.resize((photo.width * 4, photo.height * 4)), quality=80),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", OTHERS)
def test_other_pictures_are_stored_as_upright_rgb(kind, checker, photos):
    photo = open_photo(photos["obama"])
    found = checker(Item("photo", OTHERS[kind](photo)))
    assert found.reason == "", found.reason
    stored = Image.open(io.BytesIO(found.sample.picture))
    assert (stored.format, stored.mode, found.sample.suffix) == ("JPEG", "RGB", ".jpg")
    assert stored.getexif().get(0x0112, 1) == 1 and max(stored.size) <= MAX_SIDE
    assert stored.size == (found.sample.width, found.sample.height)
    scale = photo.width / stored.width
    straight = checker(Item("photo", photos["obama"].read_bytes())).sample
    assert np.abs(found.sample.box * scale - straight.box).max() < 0.1 * (straight.box[2] - straight.box[0])


@pytest.mark.parametrize(("format", "suffix"), [("PNG", ".png"), ("WEBP", ".webp")])
def test_a_plain_picture_is_kept_to_the_byte(format, suffix, checker, photos):
    given = as_file(open_photo(photos["obama"]), format)
    found = checker(Item("photo", given))
    assert (found.sample.picture, found.sample.suffix) == (given, suffix)


@pytest.mark.long
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"min_score": 0.99}, "uncertain face"),
        ({"min_face": 400}, "face too small"),
        ({"min_face_share": 0.2}, "face too small a part"),
        ({"max_face_share": 0.05}, "face too large a part"),
        ({"max_yaw": 2.0}, "turned away"),
        ({"max_pitch": 1.0}, "turned away"),
        ({"max_roll": 0.1}, "turned away"),
        ({"min_sharpness": 1.5}, "blurred"),
        ({"min_side": 1000}, "picture too small"),
    ],
)
def test_each_limit_is_one(limits, reason, analyzer, photos):
    found = Checker(analyzer, Limits(**limits))(Item("obama", photos["obama"].read_bytes()))
    assert found.reason == reason and found.sample is None


def test_without_a_licence_where_one_is_needed(analyzer, photos):
    needs = Checker(analyzer, Limits(), need_licence=True)
    item = Item("obama", photos["obama"].read_bytes(), source={"path": "obama"})
    assert needs(item).reason == "no licence"
    assert needs(replace(item, source={"path": "obama", "licence": "CC0"})).reason == ""


@pytest.mark.parametrize("limits", [{"min_face": -1}, {"min_face_share": 0.8}, {"max_yaw": float("nan")}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(HyperLoRAError):
        Limits(**limits)


@pytest.mark.long
@pytest.mark.parametrize("step", ["detect", "id_embedding"])
def test_models_that_fail_on_everything_end_the_run(step, analyzer, photos, monkeypatch):
    """A full GPU must not make a set of rejected pictures, whatever else is among them."""
    monkeypatch.setattr(checks, "_MOST_FAILURES", 5)

    def full(*arguments, **more):
        raise RuntimeError("out of memory")

    failing = Checker(FaceAnalyzer(analyzer.models, analyzer.path), Limits(min_side=100, min_face=1))
    monkeypatch.setattr(failing.analyzer, step, full)
    item = Item("obama", as_file(open_photo(photos["obama"]).resize((364, 456))))
    small, broken = Item("small", as_file(Image.new("RGB", (64, 64)))), Item("broken", b"no picture")
    nobody = Item("nobody", as_file(Image.new("RGB", (300, 300), "gray")))
    found = failing(item)
    assert (found.reason, found.detail) == ("failed", "RuntimeError: out of memory")
    with pytest.raises(HyperLoRAError, match=r"5 pictures one after the other"):
        for _ in range(10):
            for other, reason in ((small, "picture too small"), (broken, "broken picture")):
                assert failing(other).reason == reason
            assert step == "detect" or failing(nobody).reason == "no face"
            failing(item)


def test_models_that_fail_now_and_then_cost_a_picture_each(analyzer, photos, monkeypatch):
    monkeypatch.setattr(checks, "_MOST_FAILURES", 2)
    monkeypatch.setattr(checks, "_PAUSE", 0.0)
    failing = Checker(FaceAnalyzer(analyzer.models, analyzer.path), Limits(min_side=100, min_face=1))
    item, detect, calls = Item("obama", as_file(open_photo(photos["obama"]).resize((364, 456)))), analyzer.detect, []

    def sometimes(*arguments, **more):
        calls.append(1)
        if len(calls) % 3:
            raise RuntimeError("out of memory")
        return detect(*arguments, **more)

    monkeypatch.setattr(failing.analyzer, "detect", sometimes)
    reasons = [failing(item).reason for _ in range(6)]
    assert reasons[::2] == ["failed"] * 3 and "failed" not in reasons[1::2]


def test_what_fails_for_a_moment_costs_no_picture(analyzer, photos, monkeypatch):
    monkeypatch.setattr(checks, "_PAUSE", 0.0)
    failing = Checker(FaceAnalyzer(analyzer.models, analyzer.path), Limits(min_side=100, min_face=1))
    item, embedding, calls = Item("obama", as_file(open_photo(photos["obama"]))), analyzer.id_embedding, []

    def first_not(*arguments, **more):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return embedding(*arguments, **more)

    monkeypatch.setattr(failing.analyzer, "id_embedding", first_not)
    assert failing(item).reason == "" and len(calls) == 2


def test_a_picture_with_broken_tags_is_a_picture(checker, photos):
    file = io.BytesIO()
    open_photo(photos["obama"]).save(file, "WEBP", exif=b"Exif\x00\x00broken!!")
    with Image.open(file) as image, pytest.raises(SyntaxError):
        image.getexif()
    assert checker(Item("tagged", file.getvalue())).reason == ""


def test_no_other_program_is_run_over_a_picture(checker):
    """PIL would have Ghostscript run whatever a file of PostScript says."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 600 600\n%%EndComments\n{} loop\n"
    found = checker(Item("a.jpg", script))
    assert found.reason == "broken picture" and "no picture that can be read" in found.detail


def test_hashes_tell_the_same_picture(photos):
    obama = open_photo(photos["obama"])
    again = pictures.read(as_file(obama.resize((455, 568)), quality=40), "again").photo
    other = open_photo(photos["obama2"])
    one, two, three = (pictures.perceptual_hash(photo) for photo in (obama, again, other))
    assert (one ^ two).bit_count() <= 2 < 20 < (one ^ three).bit_count()
    assert pictures.pixel_hash(obama) == pictures.pixel_hash(obama.copy()) != pictures.pixel_hash(again)


def test_a_bomb_is_a_broken_picture(checker):
    bomb = as_file(Image.new("1", (20000, 20000)), "PNG")
    assert checker(Item("bomb", bomb)).reason == "broken picture"


def test_a_file_that_is_gone_is_unreadable(checker, tmp_path):
    (tmp_path / "other.jpg").touch()
    (item,) = items_of(Unit(str(tmp_path), files=("gone.jpg",)))
    assert checker(item).reason == "unreadable"


@pytest.mark.parametrize("number", [errno.EIO, errno.ECONNRESET, errno.ENOMEM, errno.EMFILE])
@pytest.mark.parametrize("unit", [{"files": ("a.jpg",)}, {"shard": "a.tar"}])
def test_a_disk_or_a_network_that_fails_ends_the_run_and_rejects_nothing(unit, number, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").touch()

    def fails(*arguments, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sources.tarfile, "open", fails)
    monkeypatch.setattr(sources.Path, "read_bytes", fails)
    unit = {name: str(tmp_path / value) if name == "shard" else value for name, value in unit.items()}
    with pytest.raises(HyperLoRAError, match=rf"a\.(jpg|tar) cannot be read \({os.strerror(number)}\): mend that"):
        list(items_of(Unit(str(tmp_path), **unit)))


def test_a_shard_that_is_gone_ends_the_run(tmp_path):
    (tmp_path / "other.tar").touch()
    with pytest.raises(HyperLoRAError, match=r"a\.tar is gone: bring it back"):
        list(items_of(Unit(str(tmp_path), shard=str(tmp_path / "a.tar"))))


@pytest.mark.parametrize("unit", [{"files": ("a.jpg",)}, {"shard": "a.tar"}])
@pytest.mark.parametrize("root", ["", "gone"])
def test_a_source_that_is_gone_as_a_whole_ends_the_run(root, unit, tmp_path):
    """A disk that is not mounted is an empty folder, or none."""
    with pytest.raises(HyperLoRAError, match="is gone: bring it back"):
        list(items_of(Unit(str(tmp_path / root), **unit)))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rubbish_of_any_kind_is_counted_and_stops_nothing(analyzer, photos):
    """Real files cut anywhere, with bytes changed anywhere, and noise."""
    numbers = np.random.default_rng(0)
    photo = open_photo(photos["obama"]).resize((182, 228))
    whole = [as_file(photo, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")]
    reasons, checker = set(), Checker(analyzer, Limits(min_side=1))
    for number in range(120):
        given = bytearray(whole[number % len(whole)])
        if number % 2:
            del given[numbers.integers(len(given)) :]
        for _ in range(numbers.integers(20)):
            if given:
                given[numbers.integers(min(len(given), 400))] = numbers.integers(256)
        reasons.add(checker(Item(str(number), bytes(given) or b"x")).reason)
    assert "broken picture" in reasons and "failed" not in reasons and len(reasons) > 1, "some are read all the same"
