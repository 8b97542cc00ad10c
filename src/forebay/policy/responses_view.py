"""The Response object around an answer: what was asked for is told back in it. Pure."""

from typing import Any

from forebay.domain.job import ErrorCode, Job, JobError, Status
from forebay.domain.response import ResponseArgs, State, response_id, response_of, state_of

Json = dict[str, Any]

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": "",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}  # fmt: skip
_REJECTED_CODES = frozenset({ErrorCode.TARGET_REJECTED, ErrorCode.INVALID_INPUT})


def blank(request: Json) -> Json:
    """The Response of a request that has no answer yet, without id, state and time."""
    echo = {name: default if request.get(name) is None else request[name] for name, default in _ECHOED.items()}
    echo["text"] = {"format": {"type": "text"}, **echo["text"]} if isinstance(echo["text"], dict) else echo["text"]
    if isinstance(echo["tools"], list):
        echo["tools"] = [_tool(tool) for tool in echo["tools"]]
    unanswered: Json = {"error": None, "incomplete_details": None, "output": [], "usage": None}
    return {"object": "response", **echo, **unanswered, "background": False, "store": True}


def is_response(answered: Any) -> bool:
    """Whether a target's answer is a Response at all."""
    return isinstance(answered, dict) and isinstance(answered.get("output"), list)


def view_of(job: Job, request: Json, answered: Any = None) -> Json:
    """The Response that a job is, at any time of its life. ``answered``: the decoded result of a succeeded one."""
    args = response_of(job) or ResponseArgs()
    state = state_of(job, answered.get("status") if isinstance(answered, dict) else None)
    made = blank(request)
    if is_response(answered):
        made |= answered
    elif job.status is Status.SUCCEEDED:
        state = State.FAILED
    made |= {
        "id": response_id(job.id),
        "object": "response",
        "created_at": int(job.created_at),
        "status": state.value,
        "background": args.is_background,
        "store": args.is_stored,
        "previous_response_id": args.previous_id,
        "metadata": request.get("metadata") or made["metadata"] or {},  # not every server tells it back
    }
    if state is State.COMPLETED and job.finished_at is not None:
        made["completed_at"] = int(job.finished_at)
    if state is State.FAILED and not made.get("error"):
        made["error"] = failure(job.error or _no_response(job))
    return made


def failure(error: JobError | None) -> Json:
    """A job's error as a Response has it: the vendor's code, and ours as its type."""
    if error is None:
        return {"code": "server_error", "message": "The response failed", "type": ErrorCode.INTERNAL.value}
    code = "invalid_prompt" if error.code in _REJECTED_CODES else "server_error"
    return {"code": code, "message": error.message, "type": error.code}


def _no_response(job: Job) -> JobError:
    message = f"The target answered with something that is no Response; it stands in the result of {job.id}"
    return JobError(code=ErrorCode.INVALID_OUTPUT, message=message)


def _tool(tool: Any) -> Any:
    """A function always has these two."""
    is_function = isinstance(tool, dict) and tool.get("type") == "function"
    return {"parameters": None, "strict": None, **tool} if is_function else tool
