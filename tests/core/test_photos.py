"""Photos as cameras, editors and ComfyUI give them."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from hyperlora_core import HyperLoRAError, open_photo
from hyperlora_core.faces.image_tensors import to_images, to_photos
from hyperlora_core.files.photos import MAX_SIDE

# What undoes each EXIF orientation, so that the same upright picture can be stored in all eight ways.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture
def upright() -> Image.Image:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:10, :15] = (200, 30, 30)
    picture[10:, 15:] = (30, 200, 30)
    return Image.fromarray(picture)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_is_applied(upright, orientation, tmp_path):
    turn = STORED_AS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (upright if turn is None else upright.transpose(turn)).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(open_photo(tmp_path / "photo.png"), upright)


def test_a_photo_is_turned_though_another_tag_of_it_is_broken(upright, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "somebody's camera"
    broken = exif.tobytes().replace(bytes.fromhex("0110"), bytes.fromhex("011a"))  # a resolution that is a text
    upright.transpose(STORED_AS[6]).save(tmp_path / "photo.png", exif=broken)
    with Image.open(tmp_path / "photo.png") as stored, pytest.raises(TypeError):
        ImageOps.exif_transpose(stored)
    assert np.array_equal(open_photo(tmp_path / "photo.png"), upright)


def test_transparency_is_laid_on_white(tmp_path):
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (10, 20, 30, 0))
    picture.save(tmp_path / "alpha.png")
    picture.convert("P").save(tmp_path / "palette.png", transparency=picture.convert("P").getpixel((1, 0)))
    assert np.asarray(open_photo(tmp_path / "alpha.png")).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert open_photo(tmp_path / "palette.png").getpixel((1, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(open_photo(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(values).save(tmp_path / "deep.tiff")
    assert np.asarray(open_photo(tmp_path / "deep.tiff"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_photo_stays_dark(tmp_path):
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "dark.png")
    assert open_photo(tmp_path / "dark.png").getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr", "LA"])
def test_other_modes_become_rgb(mode, tmp_path):
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / f"photo.{suffix}")
    photo = open_photo(tmp_path / f"photo.{suffix}")
    assert photo.mode == "RGB" and min(photo.getpixel((4, 4))) > 250


def test_huge_photos_are_reduced(tmp_path):
    Image.new("RGB", (17000, 2000), "navy").save(tmp_path / "huge.jpg")
    since = time.monotonic()
    photo = open_photo(tmp_path / "huge.jpg")
    assert photo.size == (MAX_SIDE, round(MAX_SIDE * 2000 / 17000))
    assert time.monotonic() - since < 20
    big = to_photos(torch.zeros(1, 10, MAX_SIDE + 100, 3))[0]
    assert big.width == MAX_SIDE


def test_a_bomb_is_refused(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    with pytest.raises(HyperLoRAError, match=r"bomb\.png is too large to open"):
        open_photo(tmp_path / "bomb.png")


def heic() -> bytes:
    return b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)


def truncated_jpeg() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()[:900]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html></html>", "it is a web page"),
        (heic(), "it is a HEIC photo; save it as JPEG or PNG"),
        (b"nothing of the kind", "save it as JPEG or PNG"),
        (truncated_jpeg(), "may be broken or cut short"),
    ],
    ids=["empty", "html", "heic", "text", "truncated"],
)
def test_files_that_are_no_photo(content, message, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(HyperLoRAError, match=message) as caught:
        open_photo(tmp_path / "photo.jpg")
    assert str(tmp_path / "photo.jpg") in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(HyperLoRAError, match="there is no photo"):
            open_photo(path)


def test_all_levels_survive_the_way_to_comfyui_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photo = Image.fromarray(np.stack([levels, levels.T, levels[::-1]], axis=-1))
    images = to_images([photo, photo])
    assert images.shape == (2, 16, 16, 3) and images.dtype == torch.float32
    for back in to_photos(images):
        assert np.array_equal(back, photo)


def test_channels_and_range():
    grey, colour, alpha = to_photos(torch.full((2, 3, 1), 0.5)), to_photos(torch.full((2, 3, 3), 0.5)), None
    assert np.array_equal(grey[0], colour[0])
    alpha = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 2, 2, 4)
    assert to_photos(alpha)[0].getpixel((0, 0)) == (255, 255, 255)
    assert to_photos(torch.tensor([-5.0, 0.2, 9.0]).expand(1, 1, 1, 3))[0].getpixel((0, 0)) == (0, 51, 255)
    assert to_photos(torch.ones(1, 2, 2, 3, dtype=torch.float16))[0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none_name_the_picture(bad):
    images = torch.zeros(3, 4, 4, 3)
    images[1, 2, 3, 0] = bad
    with pytest.raises(HyperLoRAError, match="picture 2 of the batch holds NaN or infinite numbers"):
        to_photos(images)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 2), (1, 1, 4, 4, 3), (1, 0, 4, 3), (0, 4, 4, 3)])
def test_shapes_that_are_no_picture(shape):
    with pytest.raises(HyperLoRAError, match=r"expected, got|without a pixel"):
        to_photos(torch.zeros(shape))
