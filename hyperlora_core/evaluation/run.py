"""``hyperlora evaluate``: what it runs: drawing, scoring, the report."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comfy.client import SERVER, ComfyClient
from ..comfy.manifest import Manifest
from ..comfy.queue import Batch, Options
from ..comfy.tasks import Task
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files import atomic
from .clip_scores import ClipScorer
from .face_scores import FaceJudge
from .methods import BASELINE, Method, Where, available, chosen, read_method, shipped
from .plan import Person, Plan, plan, read_persons, read_sweep, readable
from .protocol import Protocol
from .report import write
from .scoring import DONE, Describer, rows_of
from .tables import Evaluation, default_reference, tables

PROTOCOL, METHODS, PICTURES, FEATURES = "protocol.json", "methods", "pictures", "features"
_PICTURES_PER_LINE = 50

log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Draw the pictures that are not there yet, score all, and write the report.

    Returns:
        The exit code: 1 where a picture failed or is missing.

    Raises:
        HyperLoRAError: an argument cannot be used.
    """
    methods = _methods(options)
    if options.list:
        for method in methods:
            kinds = sorted({node["class_type"] for node in method.workflow.values()})
            needs = {"nodes": ", ".join(kinds), "files": ", ".join(method.files), "from": method.source}
            lines = "".join(f"    {name}: {value}\n" for name, value in needs.items() if value)
            sys.stdout.write(f"{method.name}: {method.title}. {method.about}\n{lines}")
        return 0
    needed = {"PEOPLE": options.people, "--out": options.out, "--clip": options.clip, "--faces": options.faces}
    lacking = [name for name, value in needed.items() if value is None]
    if lacking:
        raise HyperLoRAError(f"hyperlora evaluate needs {' and '.join(lacking)}; hyperlora evaluate --help says more")
    protocol, (people, left_out) = _protocol(options), readable(read_persons(options.people))
    for why in left_out:  # and again at the end, for what stops the run in between would hide it
        log.warning(why)
    _compare(options.out, protocol)
    where = {} if options.no_draw else _where(options, methods, protocol, people)
    started = _started(options.out, plan(protocol, people, methods))
    absent = {
        method.name: where[method.name].why if where else "nothing was drawn by it, as it is set now"
        for method in methods
        if method.name not in started and (options.no_draw or not where[method.name].servers)
    }
    for name, why in absent.items():
        log.warning("%s is left out: %s", name, why)
    methods = [method for method in methods if method.name not in absent]
    drawing = [method.name for method in methods if method.identity]
    if not drawing:
        raise HyperLoRAError("no method is left that draws a person")
    reference = options.against or default_reference(methods)
    if reference not in drawing:
        raise HyperLoRAError(f"--against {reference}: one of {', '.join(drawing)} was expected")
    full_plan = plan(protocol, people, methods, [read_sweep(text) for text in options.sweep], where)
    describer = _describer(options)
    unavailable = [name for name in where if not where[name].servers and name in started]
    remarks = (
        describer.people(full_plan)
        + left_out
        + [f"{name} is not drawn any more: {where[name].why}" for name in unavailable]
    )
    _write(options.out / PROTOCOL, protocol.to_json())
    manifest = Manifest.open(options.out / PICTURES)
    if not options.no_draw:
        _keep_methods(options.out, methods)
        tasks = [task for task in full_plan.tasks if where[task.labels["family"]].servers]
        manifest = _drawn(options, tasks).manifest
    code = _report(options, full_plan, manifest, describer, reference, absent, remarks)
    for why in left_out:
        log.error(why)
    return 1 if left_out else code


def _where(
    options: argparse.Namespace, methods: Sequence[Method], protocol: Protocol, people: Sequence[Person]
) -> dict[str, Where]:
    """Ask the servers which methods they can draw with; logs which of them a method has to do without."""
    clients = _answering([ComfyClient(url) for url in options.server or [SERVER]])
    servers_of = available(methods, clients, protocol.values(), [person.name for person in people])
    for name, where in servers_of.items():
        if where.servers and where.lacks:
            able = sorted(frozenset().union(*where.servers.values()))
            log.info("%s is drawn by %s alone: %s", name, ", ".join(able), where.why)
    return servers_of


def _drawn(options: argparse.Namespace, tasks: Sequence[Task]) -> Batch:
    urls = sorted(frozenset().union(*(task.servers for task in tasks)))
    batch = Batch(tasks, Options(urls, options.out / PICTURES, options.retries, options.timeout))
    log.info("%d pictures to draw, %d are there already", len(batch.pending), len(batch.tasks) - len(batch.pending))
    if batch.pending:
        batch.run()
    return batch


def _answering(clients: Sequence[ComfyClient]) -> list[ComfyClient]:
    """The servers that answer; the others are left out, for nobody knows what they could draw.

    Raises:
        HyperLoRAError: none does.
    """
    alive = [client for client in clients if client.alive()]
    if not alive:
        raise HyperLoRAError(f"no ComfyUI answers at {', '.join(client.url for client in clients)}")
    for client in clients:
        if client not in alive:
            log.warning("ComfyUI at %s does not answer, and is left out until the command is given again", client.url)
    return alive


def _started(out: Path, full_plan: Plan) -> set[str]:
    """The methods with which a picture was drawn, or tried, in an earlier run."""
    if not (out / PICTURES).is_dir():
        return set()
    entries = Manifest.open(out / PICTURES).last
    return {task.labels["family"] for task in full_plan.tasks if task.key in entries}


def _report(
    options: argparse.Namespace,
    full_plan: Plan,
    manifest: Manifest,
    describer: Describer,
    reference: str,
    absent: Mapping[str, str],
    remarks: Sequence[str],
) -> int:
    def log_progress(scored: int, tasks: int) -> None:
        if scored % _PICTURES_PER_LINE == 0 or scored == tasks:
            log.info("scored %d of %d", scored, tasks)

    rows = rows_of(full_plan, manifest, describer, log_progress)
    evaluation = Evaluation(
        plan=full_plan,
        rows=rows,
        tables=tables(full_plan, rows, reference, absent),
        folder=PICTURES,
        clip=f"{describer.clip.encoder.name} ({describer.clip.encoder.sha256[:10]}), by open_clip",
        judge=f"{describer.judge.encoder.name} ({describer.judge.encoder.sha256[:10]})",
        remarks=[describer.judge.remark, *remarks],
        hosts=_hosts(full_plan, manifest),
    )
    log.info("see %s", write(options.out, evaluation))
    complete = all(summary.failed + summary.missing == 0 for summary in evaluation.tables.summaries)
    return 0 if complete else 1


def _hosts(full_plan: Plan, manifest: Manifest) -> dict[str, str]:
    """The servers that drew pictures of a plan: address -> device and versions."""
    hosts = {}
    for task in full_plan.tasks:
        entry = manifest.last.get(task.key, {})
        if entry.get("state") == DONE:
            host = entry.get("host", {})
            parts = [host.get("device"), f"ComfyUI {host.get('comfyui')}", f"PyTorch {host.get('pytorch')}"]
            hosts[str(entry["server"])] = ", ".join(filter(None, parts))
    return hosts


def _methods(options: argparse.Namespace) -> list[Method]:
    """The methods of the command line with their settings; the baseline is always among them."""
    own = [read_method(path) for path in options.method]
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    names = [*(names or shipped()), *(method.name for method in own), BASELINE]
    methods = chosen(list(dict.fromkeys(names)), own)
    all_names = {*shipped(), *(method.name for method in own)}
    settings: dict[str, dict[str, Any]] = {}
    for text in options.set:
        place, equals, value = text.partition("=")
        name = next((name for name in all_names if place.startswith(f"{name}.")), "")
        slot = place.removeprefix(f"{name}.")
        if not equals or not name:
            raise HyperLoRAError(f"--set {text}: METHOD.SLOT=VALUE of one of the methods was expected")
        if (name, slot) == (BASELINE, "cfg"):
            raise HyperLoRAError(f"--set {text}: {BASELINE} is drawn at each method's CFG")
        if name not in [method.name for method in methods]:
            log.warning("--set %s: %s is not among --methods", text, name)
        settings.setdefault(name, {})[slot] = value
    configured = []
    for method in methods:
        configured.append(method.with_settings(method.name, method.title, settings.get(method.name, {})))
    return configured


def _protocol(options: argparse.Namespace) -> Protocol:
    """The protocol: options go before the file, the file before what the folder was started with."""
    stored = options.out / PROTOCOL
    before = options.protocol or (stored if stored.is_file() else None)
    value = Protocol.read(before).to_json() if before else Protocol().to_json()
    values = {"checkpoint": options.checkpoint, "photos": options.photos, "steps": options.steps}
    values |= {"width": options.size, "height": options.size}
    return Protocol.from_json(value | {name: value for name, value in values.items() if value is not None})


def _compare(out: Path, protocol: Protocol) -> None:
    """Refuse a folder that holds pictures of another protocol, for they belong to another evaluation.

    Raises:
        HyperLoRAError: the folder was started with another protocol.
    """
    path = out / PROTOCOL
    if not path.is_file():
        return
    before, now = Protocol.read(path), protocol.to_json()
    for name, value in before.to_json().items():
        if name != "prompts" and value != now[name]:
            raise HyperLoRAError(f"{out} was begun with {name} {value!r}: give the same, or another --out")
    changed = {*before.prompts} ^ {*protocol.prompts}
    if changed or before.prompts != protocol.prompts:
        example = f", as {min(prompt.name for prompt in changed)!r}" if changed else ""
        raise HyperLoRAError(f"{out} was begun with other prompts{example}: give the same, or another --out")


def _keep_methods(out: Path, methods: Sequence[Method]) -> None:
    """Write the methods as ``--method`` reads them: these are the workflows whose hashes the manifest has."""
    for method in methods:
        _write(out / METHODS / method.file_name, method.to_json())


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _describer(options: argparse.Namespace) -> Describer:
    analyzer = FaceAnalyzer.load(options.faces, options.face_engine, options.device)
    judge = FaceJudge.load(analyzer, options.id_model, options.device)
    return Describer(ClipScorer.load(options.clip, options.device), judge, options.out / FEATURES)
