"""The face picker: its route, and the faces picked by it."""

import base64
import io
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from demo import workflows
from hyperlora_core.files.photos import open_photo
from tests.host.conftest import failure


def ask(server, image, **more):
    return requests.post(f"{server.url}/hyperlora/faces", json={"image": image, **more}, timeout=120)


def refused(server, image, **more) -> str:
    answer = ask(server, image, **more)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


@pytest.fixture(scope="module")
def group(server, uploaded) -> dict:
    """The group photo, as the route describes it."""
    (photo,) = ask(server, uploaded["group"]).json()["photos"]
    return photo


def detecting(small, picks, **photo):
    return small("portrait_steps", HyperLoRADetectFaces={"picked": json.dumps(picks)}, **photo)


def test_the_route_shows_the_photo_and_its_faces(group, photos):
    photo = open_photo(photos["group"])
    assert (group["width"], group["height"]) == photo.size and len(group["faces"]) == 6
    picture = Image.open(io.BytesIO(base64.b64decode(group["image"].partition(",")[2])))
    assert max(picture.size) == 640
    reduced = np.asarray(photo.resize(picture.size), dtype=float)
    assert np.abs(np.asarray(picture, dtype=float) - reduced).mean() < 4
    for face in group["faces"]:
        left, top, right, bottom = face["box"]
        assert 0 <= left < face["pick"]["x"] < right <= 1 and 0 <= top < face["pick"]["y"] < bottom <= 1


def test_a_picked_face_is_what_the_prompt_encodes(server, small, group):
    crops = []
    for face in group["faces"][:3]:
        workflow = detecting(small, [face["pick"]], photo="group")
        outputs = server.run(workflow).outputs
        (shown_photo,) = outputs[workflows.node(workflow, "HyperLoRADetectFaces")]["hyperlora_faces"]
        assert shown_photo["photo"] == group["photo"]
        assert sorted(str(entry["pick"]) for entry in shown_photo["faces"]) == sorted(
            str(f["pick"]) for f in group["faces"]
        )
        (crop,) = outputs[workflows.node(workflow, "HyperLoRAEncodeIdentity")]["images"]
        crops.append(server.view(crop))
    assert len(set(crops)) == 3


def test_several_picked_faces_are_encoded_each(server, small, group):
    workflow = detecting(small, [face["pick"] for face in group["faces"][:3]], photo="group")
    outputs = server.run(workflow).outputs
    assert len(outputs[workflows.node(workflow, "HyperLoRAEncodeIdentity")]["images"]) == 3
    card = outputs[workflows.node(workflow, "HyperLoRAEncodeIdentity")]["hyperlora_identity"][0]
    assert card["photos"] == 3 and card["parts"] == "ID" and -1 <= card["agreement"] <= 1


def test_a_pick_on_another_photo_fails_with_our_sentence(server, small, group):
    error = failure(server, detecting(small, [group["faces"][0]["pick"]], photo="obama"))
    assert error.node_type == "HyperLoRADetectFaces"
    assert error.message.startswith("a face was picked on another photo")
    error = failure(server, detecting(small, "everyone"))
    assert error.message.startswith("the picked faces cannot be read")


def test_only_pictures_of_comfyuis_folders_are_looked_at(server, uploaded, photos, tmp_path):
    absent = "is no file of ComfyUI's input, output or temp folder"
    for name in ("../server.log", str(photos["obama"]), "/etc/passwd", "nobody.png", "", ".", "a/../../x.png"):
        assert absent in refused(server, name)
    inside = server.base / "input"
    (inside / "leads_out.png").symlink_to(photos["obama"])
    assert absent in refused(server, "leads_out.png")
    (inside / "note.png").write_text("no picture")
    assert "is no picture that can be read here" in refused(server, "note.png")
    Image.new("1", (20_000, 6_000)).save(inside / "huge.png")
    assert "is too large to look at here" in refused(server, "huge.png")
    with (inside / "heavy.png").open("wb") as file:
        file.truncate(65 << 20)
    assert "is larger than 64 MB" in refused(server, "heavy.png")
    for folder in ("output", "temp"):
        (server.base / folder / "sub").mkdir(parents=True, exist_ok=True)
        shutil.copy(photos["obama"], server.base / folder / "sub" / "obama.jpg")
        assert len(ask(server, f"sub/obama.jpg [{folder}]").json()["photos"][0]["faces"]) == 1


def test_other_sites_and_odd_bodies_are_refused(server, uploaded):
    url, body = f"{server.url}/hyperlora/faces", json.dumps({"image": uploaded["obama"]})
    assert requests.post(url, data=body, headers={"Content-Type": "text/plain"}, timeout=30).status_code == 415
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        headers["Content-Type"] = "application/json"
        assert requests.post(url, data=body, headers=headers, timeout=30).status_code == 403
    for odd in ("{", "[]", "3", '{"image": 3}', "{}"):
        answer = requests.post(url, data=odd, headers={"Content-Type": "application/json"}, timeout=30)
        assert answer.status_code == 400 and "was expected" in answer.json()["error"]
    assert "were not found" in refused(server, uploaded["obama"], face_model="nobodys")


@pytest.mark.slow
def test_it_answers_while_the_queue_runs(server, small, uploaded):
    workflow = small("portrait_simple", KSampler={"steps": 30})
    running = threading.Event()
    thread = threading.Thread(target=lambda: server.run(workflow, on_event=lambda event: running.set()))
    thread.start()
    assert running.wait(60)
    began = time.monotonic()
    assert len(ask(server, uploaded["obama2"]).json()["photos"][0]["faces"]) == 1
    assert thread.is_alive() and time.monotonic() - began < 20
    thread.join()


def test_many_at_once_give_what_one_gives(server, uploaded):
    names = [uploaded[name] for name in ("obama", "obama2", "obama3", "biden")]
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)
    alone = [ask(server, name).json() for name in names]
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)
    answers: dict[str, dict] = {}
    threads = [threading.Thread(target=lambda n=name: answers.update({n: ask(server, n).json()})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[name] for name in names] == alone


def test_a_picture_of_several_frames_is_several_photos(server, photos):
    frames = [open_photo(photos[name]).resize((400, 400)) for name in ("obama", "biden")]
    frames[0].save(server.base / "input" / "two.webp", save_all=True, append_images=frames[1:], lossless=True)
    listed = ask(server, "two.webp").json()["photos"]
    assert len(listed) == 2 and listed[0]["photo"] != listed[1]["photo"]
    assert Path(server.base / "input" / "two.webp").is_file()
