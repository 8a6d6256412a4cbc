"""``hyperlora evaluate``: what it runs: drawing, scoring, the report."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comfy.client import SERVER, ComfyClient
from ..comfy.jobs import Task
from ..comfy.queue import Batch, Manifest, Options
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
_SAID_EVERY = 50  # pictures

log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Draw what is left, score what was drawn, and report; 1 where a picture failed or is missing.

    Raises:
        HyperLoRAError: something given cannot be used.
    """
    methods = _methods(options)
    if options.list:
        for method in methods:
            kinds = sorted({node["class_type"] for node in method.workflow.values()})
            said = {"nodes": ", ".join(kinds), "files": ", ".join(method.files), "from": method.source}
            lines = "".join(f"    {name}: {value}\n" for name, value in said.items() if value)
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
    begun = _begun(options.out, plan(protocol, people, methods))
    absent = {
        method.name: where[method.name].why if where else "nothing was drawn by it, as it is set now"
        for method in methods
        if method.name not in begun and (options.no_draw or not where[method.name].servers)
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
    wanted = plan(protocol, people, methods, [read_sweep(text) for text in options.sweep], where)
    describer = _describer(options)
    gone = [name for name, one in where.items() if not one.servers and name in begun]
    remarks = (
        describer.people(wanted) + left_out + [f"{name} is not drawn any more: {where[name].why}" for name in gone]
    )
    _write(options.out / PROTOCOL, protocol.to_json())
    manifest = Manifest.open(options.out / PICTURES)
    if not options.no_draw:
        _keep_methods(options.out, methods)
        tasks = [task for task in wanted.tasks if where[task.labels["family"]].servers]
        manifest = _drawn(options, tasks).manifest
    code = _report(options, wanted, manifest, describer, reference, absent, remarks)
    for why in left_out:
        log.error(why)
    return 1 if left_out else code


def _where(
    options: argparse.Namespace, methods: Sequence[Method], protocol: Protocol, people: Sequence[Person]
) -> dict[str, Where]:
    """Which servers can draw by which method; what a method is drawn without is said."""
    clients = _answering([ComfyClient(url) for url in options.server or [SERVER]])
    found = available(methods, clients, protocol.values(), [person.name for person in people])
    for name, one in found.items():
        if one.servers and one.lacks:
            able = sorted(frozenset().union(*one.servers.values()))
            log.info("%s is drawn by %s alone: %s", name, ", ".join(able), one.why)
    return found


def _drawn(options: argparse.Namespace, tasks: Sequence[Task]) -> Batch:
    urls = sorted(frozenset().union(*(task.servers for task in tasks)))
    batch = Batch(tasks, Options(urls, options.out / PICTURES, options.retries, options.timeout))
    log.info("%d pictures to draw, %d are there already", len(batch.pending), len(batch.tasks) - len(batch.pending))
    if batch.pending:
        batch.run()
    return batch


def _answering(clients: Sequence[ComfyClient]) -> list[ComfyClient]:
    """Those that answer; the others are left out, for what they could draw is not known.

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


def _begun(out: Path, all_of_it: Plan) -> set[str]:
    """Methods by which something was drawn or tried before."""
    if not (out / PICTURES).is_dir():
        return set()
    begun = Manifest.open(out / PICTURES).last
    return {task.labels["family"] for task in all_of_it.tasks if task.key in begun}


def _report(
    options: argparse.Namespace,
    wanted: Plan,
    manifest: Manifest,
    describer: Describer,
    reference: str,
    absent: Mapping[str, str],
    remarks: Sequence[str],
) -> int:
    def said(done: int, of: int) -> None:
        if done % _SAID_EVERY == 0 or done == of:
            log.info("scored %d of %d", done, of)

    rows = rows_of(wanted, manifest, describer, said)
    found = Evaluation(
        plan=wanted,
        rows=rows,
        tables=tables(wanted, rows, reference, absent),
        folder=PICTURES,
        clip=f"{describer.clip.encoder.name} ({describer.clip.encoder.sha256[:10]}), by open_clip",
        judge=f"{describer.judge.encoder.name} ({describer.judge.encoder.sha256[:10]})",
        remarks=[describer.judge.remark, *remarks],
        hosts=_hosts(wanted, manifest),
    )
    log.info("see %s", write(options.out, found))
    whole = all(one.failed + one.missing == 0 for one in found.tables.summaries)
    return 0 if whole else 1


def _hosts(wanted: Plan, manifest: Manifest) -> dict[str, str]:
    """Address -> what computed there, of the servers that drew something of a plan."""
    found = {}
    for task in wanted.tasks:
        entry = manifest.last.get(task.key, {})
        if entry.get("state") == DONE:
            host = entry.get("host", {})
            said = [host.get("device"), f"ComfyUI {host.get('comfyui')}", f"PyTorch {host.get('pytorch')}"]
            found[str(entry["server"])] = ", ".join(filter(None, said))
    return found


def _methods(options: argparse.Namespace) -> list[Method]:
    """Those that are asked for, with their settings; the baseline is always among them."""
    own = [read_method(path) for path in options.method]
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    names = [*(names or shipped()), *(method.name for method in own), BASELINE]
    methods = chosen(list(dict.fromkeys(names)), own)
    known = {*shipped(), *(method.name for method in own)}
    settings: dict[str, dict[str, Any]] = {}
    for text in options.set:
        place, equals, value = text.partition("=")
        name = next((name for name in known if place.startswith(f"{name}.")), "")
        slot = place.removeprefix(f"{name}.")
        if not equals or not name:
            raise HyperLoRAError(f"--set {text}: METHOD.SLOT=VALUE of one of the methods was expected")
        if (name, slot) == (BASELINE, "cfg"):
            raise HyperLoRAError(f"--set {text}: {BASELINE} is drawn at each method's CFG")
        if name not in [method.name for method in methods]:
            log.warning("--set %s: %s is not among --methods", text, name)
        settings.setdefault(name, {})[slot] = value
    made = []
    for method in methods:
        made.append(method.with_settings(method.name, method.title, settings.get(method.name, {})))
    return made


def _protocol(options: argparse.Namespace) -> Protocol:
    """What was given, over a file, over what the folder was begun with."""
    begun = options.out / PROTOCOL
    before = options.protocol or (begun if begun.is_file() else None)
    value = Protocol.read(before).to_json() if before else Protocol().to_json()
    given = {"checkpoint": options.checkpoint, "photos": options.photos, "steps": options.steps}
    given |= {"width": options.size, "height": options.size}
    return Protocol.from_json(value | {name: value for name, value in given.items() if value is not None})


def _compare(out: Path, protocol: Protocol) -> None:
    """Pictures of another protocol in the folder are another evaluation's.

    Raises:
        HyperLoRAError: the folder was begun with another.
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
        which = f", as {min(prompt.name for prompt in changed)!r}" if changed else ""
        raise HyperLoRAError(f"{out} was begun with other prompts{which}: give the same, or another --out")


def _keep_methods(out: Path, methods: Sequence[Method]) -> None:
    """Write what is drawn by, as ``--method`` reads it: the workflows that the manifest has the hashes of."""
    for method in methods:
        _write(out / METHODS / method.file_name, method.to_json())


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _describer(options: argparse.Namespace) -> Describer:
    analyzer = FaceAnalyzer.load(options.faces, options.face_engine, options.device)
    judge = FaceJudge.load(analyzer, options.id_model, options.device)
    return Describer(ClipScorer.load(options.clip, options.device), judge, options.out / FEATURES)
