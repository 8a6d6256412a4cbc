"""Cuts: always around the face, and SDXL is told the truth of them."""

import pytest
import torch

from hyperlora_core.training.framing import Frame, draw_frame


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("size", "box"),
    [((900, 600), (100, 80, 300, 330)), ((400, 700), (150, 10, 390, 300)), ((512, 512), (40, 60, 140, 150))],
)
def test_a_cut_lies_in_the_picture_and_holds_the_face(size, box):
    drawn = [draw_frame(*size, box, numbers(seed), 0.5) for seed in range(300)]
    for frame in drawn:
        left, top, right, bottom = frame.box
        assert 0 <= left <= box[0] and 0 <= top <= box[1] and box[2] <= right <= size[0] and box[3] <= bottom <= size[1]
        assert right - left == bottom - top == frame.side
    assert len({frame.side for frame in drawn}) > 20 and len({frame.left for frame in drawn}) > 20
    assert min(frame.side for frame in drawn) >= 0.5 * min(size) - 1


def test_a_face_larger_than_any_square_is_cut_about_its_middle():
    frame = draw_frame(900, 300, (200, -50, 700, 350), numbers(), 0.5)
    assert frame.side == 300 and frame.top == 0 and frame.left == 300


def test_the_same_numbers_give_the_same_cut():
    one, other = (draw_frame(900, 600, (1, 2, 99, 98), numbers(3), 0.5) for _ in range(2))
    assert one == other


def test_a_square_picture_is_shown_whole_where_nothing_may_be_cut_off():
    assert draw_frame(512, 512, (40, 60, 140, 150), numbers(), 1.0) == Frame(0, 0, 512)


def test_sdxl_is_told_of_the_true_cut():
    assert Frame(30, 60, 300).size_condition(900, 600, 1024) == (600, 900, 205, 102, 1024, 1024)
