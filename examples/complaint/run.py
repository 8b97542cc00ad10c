"""One complaint, six models of five modalities, one result: `python examples/complaint/run.py`.

A photo of a receipt, a message and a recording of it go to OCR, colours, embedding, a label by schema, transcription,
speech and a model far away, in parallel, by one rule. Prints each branch's time, their sum and the time of the whole.
"""

import argparse
import base64
import json
import time
from pathlib import Path
from typing import Any

from servers import HERE, forebay_server, mock_model, prepare, run
from show import show

import forebay

LOCAL_MODELS = ("pp-ocrv6-small", "multilingual-e5-small", "whisper-tiny.en", "hibari-heart")
FAR_LATENCY_MS = 3000
LONGEST_SECONDS = 600


def main() -> int:
    """Runs the example; returns its exit code."""
    options = read_options()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    run("models", "pull", *LOCAL_MODELS, options.model)
    with mock_model(FAR_LATENCY_MS) as far:
        prepare(out, options.model, far)
        with forebay_server() as url, forebay.Client(url) as client:
            report = compare(client, out, once=options.once)
    (out / "result.json").write_text(json.dumps(report, indent=2) + "\n")
    if options.json:
        print(json.dumps(report))
    else:
        show(report, out)
    return 0 if report["status"] == "succeeded" else 1


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m", help="the text model: smollm2-135m or qwen2.5-coder-1.5b")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="where the results go")
    parser.add_argument("--once", action="store_true", help="one fan-out that also starts the models; no comparison")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args()


def compare(client: forebay.Client, out: Path, *, once: bool) -> dict[str, Any]:
    """The fan-out with models that start, then each branch alone, then the fan-out with models that run."""
    event = complaint(client)
    (out / "event.json").write_text(json.dumps(event))
    first = fan_out(client, event)
    if once:
        return first
    alone = {name: one_alone(client, sent) for name, sent in what_is_sent(out / "event.json").items()}
    report = fan_out(client, event)
    for branch in report["branches"]:
        branch["alone_seconds"] = alone[branch["name"]]
    here = [one for one in report["branches"] if one["name"] != "abroad"]
    reply = next(one["body"] for one in report["branches"] if one["name"] == "reply")
    (out / "reply.wav").write_bytes(b"".join(client.files.content(reply["file_id"])))
    return {
        **report,
        "first_seconds": first["whole_seconds"],
        "alone_seconds": round(sum(alone.values()), 2),
        "here_alone_seconds": round(sum(one["alone_seconds"] for one in here), 2),
        "here_slowest_seconds": max(one["seconds"] for one in here),
    }


def complaint(client: forebay.Client) -> dict[str, Any]:
    """The event. The recording is the message, spoken by a model: so it is known what there is to hear."""
    text = (HERE / "message.txt").read_text().strip()
    spoken = client.jobs.submit(target="voice", body={"input": text, "response_format": "flac"})
    recording = client.jobs.wait(spoken.id, timeout=LONGEST_SECONDS).result
    picture = base64.b64encode((HERE / "receipt.jpg").read_bytes()).decode()
    return {
        "source": "shop",
        "detail-type": "complaint.received",
        "detail": {
            "order": "2026-0417",
            "text": text,
            "picture": f"data:image/jpeg;base64,{picture}",
            "recording": {"file_id": recording.body["file_id"]} if recording else None,
        },
    }


def fan_out(client: forebay.Client, event: dict[str, Any]) -> dict[str, Any]:
    """Publishes the event, waits for what its rule makes of it, and takes the times."""
    receipt = client.events.send(event)
    [matched] = receipt.matched
    job = client.jobs.wait(matched.job_id, timeout=LONGEST_SECONDS)
    branches = [measured(client, name, entry) for name, entry in job.result.body.items()] if job.result else []
    return {
        "job_id": job.id,
        "status": job.status,
        "branches": branches,
        "sum_seconds": round(sum(one["seconds"] for one in branches), 2),
        "slowest_seconds": max((one["seconds"] for one in branches), default=0.0),
        "whole_seconds": round((job.finished_at or time.time()) - job.created_at, 2),
    }


def measured(client: forebay.Client, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """A branch's entry of the result, with the time of its calls (its wait in the queue is no part of it)."""
    job = client.jobs.get(entry["job_id"])
    answer = {key: entry[key] for key in ("body", "error") if key in entry}
    began_at = min((attempt.started_at or 0.0 for attempt in job.attempts), default=job.created_at)
    times = {"began_at": began_at, "ended_at": job.finished_at, "seconds": called(job)}
    return {"name": name, "target": job.target, "status": entry["status"], **times, **answer}


def what_is_sent(event: Path) -> dict[str, Any]:
    """What the rule would send, told by `forebay rules test`."""
    view = json.loads(run("rules", "test", str(event), "--json"))
    sent: dict[str, Any] = view["rules"][0]["send"]
    return sent


def one_alone(client: forebay.Client, sent: dict[str, Any]) -> float:
    """Sends one branch's request by itself; returns the seconds of its call."""
    job = client.jobs.submit(target=sent["target"], body=sent["body"])
    return called(client.jobs.wait(job.id, timeout=LONGEST_SECONDS))


def called(job: Any) -> float:
    """The seconds that a job's calls took, by the ledger."""
    spans = [one.finished_at - one.started_at for one in job.attempts if one.finished_at and one.started_at]
    return round(sum(spans), 2)


if __name__ == "__main__":
    raise SystemExit(main())
