"""A pipeline as a picture: Mermaid's flowchart. Source: mermaid.js.org/syntax/flowchart.html (November 2026)."""

from forebay.domain.pipeline import INFERENCE_KINDS, Pipeline, StepKind, TriggerType

_SINKS = frozenset({StepKind.WRITE, StepKind.INDEX, StepKind.REPORT, StepKind.NOTIFY, StepKind.PUBLISH})


def mermaid(pipeline: Pipeline) -> str:
    """The text of the picture: triggers, steps by their kinds, and an arrow for each need."""
    lines = ["flowchart TD"]
    numbers = {step.name: f"s{number}" for number, step in enumerate(pipeline.steps)}
    roots = [step.name for step in pipeline.steps if not step.needs]
    for number, trigger in enumerate(pipeline.triggers):
        told = {TriggerType.CRON: trigger.cron, TriggerType.FILES: trigger.files}.get(trigger.type) or trigger.name
        lines.append(f"  t{number}>{_quoted(f'{trigger.type.value}: {told}')}]")
        lines += [f"  t{number} -.-> {numbers[root]}" for root in roots]
    for step in pipeline.steps:
        label = _quoted(f"{step.name}\n{step.kind.value}")
        shape = ("([", "])") if step.kind in INFERENCE_KINDS else ("[/", "/]") if step.kind in _SINKS else ("[", "]")
        lines.append(f"  {numbers[step.name]}{shape[0]}{label}{shape[1]}")
    for step in pipeline.steps:
        for needed in step.needs:
            arrow = "-->" if needed in step.inputs else "-.->"
            lines.append(f"  {numbers[needed]} {arrow} {numbers[step.name]}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", "<br/>")
    return f'"{escaped}"'
