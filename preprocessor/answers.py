"""
Make the answer to an invocation, in the form that its sender expects.

What failed, or cannot be read, must come again or be kept by its sender, so that no
CRL is lost. Each sender is told so in another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from preprocessor.events import BatchInvocation, Request, Task
from preprocessor.outcomes import Outcome

Done = Sequence[tuple[Task | None, Outcome]]
ResultCode = Literal["Succeeded", "TemporaryFailure", "PermanentFailure"]

# S3 cuts what is longer out of the job's report.
_MAX_RESULT_STRING = 1024


def answer(request: Request, done: Done) -> dict[str, Any]:
    """
    Return the answer to *request*, of which the outcomes are *done*.

    Raises:
        ExceptionGroup: something failed or cannot be read, and only a failed invocation
            tells its sender so.
    """
    if request.batch is not None:
        return _of_batch(request.batch, request.tasks, done)
    failed = [(task, outcome) for task, outcome in done if not outcome.is_acknowledged]
    messages = [task.message_id for task, _ in failed if task and task.message_id is not None]
    # A record of a queue that is no message cannot be named: all of them come again.
    if failed and not (request.from_queue and len(messages) == len(failed)):
        errors = [outcome.error for _, outcome in failed if outcome.error is not None]
        raise ExceptionGroup(f"{len(failed)} of {len(done)} objects failed", errors)
    if request.from_queue:
        return {"batchItemFailures": [{"itemIdentifier": one} for one in dict.fromkeys(messages)]}
    return {"objects": [outcome.members() for _, outcome in done]}


def _of_batch(batch: BatchInvocation, tasks: Iterable[Task], done: Done) -> dict[str, Any]:
    results = []
    outcomes_of: dict[int, list[Outcome]] = {}
    for one, outcome in done:
        outcomes_of.setdefault(id(one), []).append(outcome)
    for task in tasks:
        if task.batch_task_id is not None:
            outcomes = outcomes_of.get(id(task), [])
            message = "; ".join(outcome.message for outcome in outcomes)
            results.append(
                {
                    "taskId": task.batch_task_id,
                    "resultCode": _result_code(outcomes),
                    "resultString": message[:_MAX_RESULT_STRING],
                }
            )
    return {
        "invocationSchemaVersion": batch.schema_version,
        # A task that has no id has no result either.
        "treatMissingKeysAs": "PermanentFailure",
        "invocationId": batch.invocation_id,
        "results": results,
    }


def _result_code(outcomes: Iterable[Outcome]) -> ResultCode:
    words = {outcome.outcome for outcome in outcomes}
    if "failed" in words:
        return "TemporaryFailure"
    # The job's manifest names objects: one that is not there is a fault of the manifest.
    return "PermanentFailure" if words & {"refused", "missing"} else "Succeeded"
