"""A job with the workflow that draws it: what the batch queue holds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..files import file_sha256
from .client import Workflow
from .jobs import Job
from .workflows import fill, put_input


@dataclass(frozen=True)
class Task:
    """A job and the workflow that draws it.

    Attributes:
        workflow: in the API format.
        job: what is filled into it.
        labels: what else is noted of its pictures; a "prompt" or "seed" where the workflow has them already.
        photo_inputs: as ``Job.inputs`` names them, where each photo goes; empty: the one node that takes photos.
        cold_start: whether a server unloads its models before it draws its first picture of this method.
        servers: addresses of the servers that can draw it; empty where all can.
        single: whether it fails where the workflow saves more than one picture.
    """

    workflow: Workflow
    job: Job
    labels: Mapping[str, Any] = field(default_factory=dict)
    photo_inputs: tuple[str, ...] = ()
    cold_start: bool = False
    servers: frozenset[str] = frozenset()
    single: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of the person, the photos' bytes (not their names), the prompt, seed, inputs and workflow."""
        job = self.job
        contents = [job.person, self._photo_hashes, job.prompt, job.seed, sorted(job.inputs.items()), self.workflow]
        return _hash(contents)[:16]

    @property
    def title(self) -> str:
        """How progress lines call it: method, person, prompt and seed."""
        prompt = (self.job.prompt or "").partition(", ")[2] or self.job.prompt or ""
        seed = f"seed {self.seed}" if self.seed is not None else ""
        parts = [self.labels.get("method", ""), self.job.person, self.labels.get("name", prompt[:40]), seed]
        return ", ".join(filter(None, parts))

    @property
    def seed(self) -> int | None:
        """The seed of its pictures; None where neither the labels nor the job name one."""
        return self.labels.get("seed", self.job.seed)

    def filled(self, photos: Sequence[str]) -> Workflow:
        """The workflow with the job filled in, ready to be queued.

        Args:
            photos: the names of the job's photos, as LoadImage takes them.

        Raises:
            HyperLoRAError: the workflow has no place for one of them, or several.
        """
        if not self.photo_inputs:
            return fill(self.workflow, self.job, photos)
        filled = fill(self.workflow, self.job, ())
        for place, photo in zip(self.photo_inputs, photos, strict=True):
            put_input(filled, place, photo)
        return filled

    def described(self) -> dict[str, Any]:
        """What the manifest says of its pictures: photos with sha256, prompt, seed, inputs, the workflow's hash."""
        job = self.job
        files = zip(map(str, job.photos), self._photo_hashes, strict=True)
        photos = [{"file": file, "sha256": sha256} for file, sha256 in files]
        description = {"person": job.person, "photos": photos, "prompt": job.prompt, "seed": job.seed, **self.labels}
        return {**description, "inputs": dict(job.inputs), "workflow_sha256": _hash(self.workflow)}

    @cached_property
    def _photo_hashes(self) -> list[str]:
        return [file_sha256(photo) for photo in self.job.photos]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
