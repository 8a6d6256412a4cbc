"""What is asked of Ray: GPUs that can be shared out, and a word where a cluster lacks them."""

import logging

import pytest

from hyperlora_core.data.engine import Cluster, _warn_of_lacking


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_all_workers_fit_onto_the_gpus(gpus):
    for workers in range(1, 70):
        share = Cluster(gpus=gpus).share(workers)
        assert 0 < share <= 1 and gpus * int(1 / share + 1e-9) >= workers
        assert workers > gpus or share == 1, "a GPU that nobody else needs is one worker's"
    assert Cluster().share(4) == 0


def test_a_gpu_has_few_workers_unless_more_are_asked_for():
    assert Cluster(gpus=1).processes <= 4 and Cluster(workers=40, gpus=1).processes == 40


@pytest.mark.parametrize(
    ("resources", "gpus", "warning"),
    [
        ({"CPU": 9, "GPU": 2}, 0.25, ""),
        ({"CPU": 9}, 0, ""),
        ({"CPU": 9}, 0.25, "has no GPU"),
        ({"CPU": 4, "GPU": 2}, 0.25, "Not all workers can begin"),
        ({"CPU": 9, "GPU": 1}, 0.25, "Not all workers can begin"),
    ],
)
def test_what_a_cluster_lacks_is_said(resources, gpus, warning, caplog):
    with caplog.at_level(logging.WARNING):
        _warn_of_lacking(resources, 8, gpus)
    assert warning in caplog.text if warning else not caplog.text
