"""The alerts as data: automations of the Prefect server that call a webhook and send an e-mail, and one that clears up.

The server sends them, not the process that runs the night: a night that never began, whose machine died, or that was
killed is told of too, and addresses and passwords stand in the server's blocks alone. What only the night itself knows
(old input, odd figures) it tells as an event (`tasks.watch`), which the server sends on likewise.

The texts are Jinja templates, filled in by the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.automations import (
    AutomationCore,
    CallWebhook,
    CancelFlowRun,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    SendNotification,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes

from deployments.definitions import TAG

PREFIX = "recsys: "  # of every automation that `recsys deploy` owns
RUN = "prefect.flow-run."
RUNS = {"prefect.resource.id": f"{RUN}*"}
OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
REFUSAL = "*GateRefused:*"  # how Prefect words the state of a run that raised it
ENDED = {f"{RUN}{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
HEARTBEAT = f"{RUN}heartbeat"
SILENT_S = 90  # three heartbeats, see deployments.definitions.ENVIRONMENT
LONGEST = timedelta(hours=6)  # a night of 25 million ratings takes minutes; a long backfill or search may need more

# Every label a template names must be there: the server drops an alert whose template fails, and says so nowhere but in
# an event `prefect.automation.action.failed`. These are on every event of a flow run.
_SUBJECT = "{{ flow_run.name }}: %s"
_TEXT = """\
{{ flow_run.name }} ({{ flow.name }}) %s

{{ flow_run.state.message or flow_run.state.name }}

What to do: %s
{{ flow_run|ui_url or '' }}"""
_OWN_SUBJECT = "{{ event.payload.subject }}"
_OWN_TEXT = "{{ event.payload.text }}"


@dataclass(frozen=True)
class Blocks:
    """Where alerts go: documents on the server, None where there is none."""

    webhook: UUID | None
    email: UUID | None


@dataclass(frozen=True)
class Alert:
    """One kind of alert.

    Attributes:
        name: of the automation.
        kind: Jinja; stands in the webhook's JSON and in the subject.
        trigger: what sets it off.
        subject, text: Jinja.
    night: figures of the night as JSON, where the event has them.
        more: what the server does besides telling.
    """

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    text: str
    kind: str = ""
    night: str = "null"
    more: tuple[ActionTypes, ...] = ()

    def automation(self, blocks: Blocks) -> AutomationCore | None:
        """For the server; None where there would be nothing to do."""
        actions = [*self.more]
        if blocks.webhook is not None:
            actions.append(CallWebhook(block_document_id=blocks.webhook, payload=self.payload))
        if blocks.email is not None:
            actions.append(SendNotification(block_document_id=blocks.email, subject=self.subject, body=self.text))
        if not actions:
            return None
        return AutomationCore(
            name=f"{PREFIX}{self.name}", description=self.description, trigger=self.trigger, actions=actions
        )

    @property
    def payload(self) -> str:
        """The webhook's JSON as a template; `text` is what chat systems show."""
        return (
            f'{{"kind": {_json(self.kind or self.name)}, '
            f'"subject": {_json(self.subject)}, "text": {_json(self.text)}, '
            '"event": {{ event.event|tojson }}, "occurred": {{ event.occurred|string|tojson }}, '
            f'"night": {self.night}}}'
        )


def _json(template: str) -> str:
    """A template whose outcome is a JSON string."""
    return f"{{% filter tojson %}}{template}{{% endfilter %}}"


def _of_run(
    name: str, state: str, description: str, happened: str, todo: str, *, message: str = "*", kind: str = ""
) -> Alert:
    """An alert on a state that a run of ours entered, perhaps with a certain message."""
    match = {**RUNS} if message == "*" else {**RUNS, "prefect.state-message": message}
    trigger = EventTrigger(expect={f"{RUN}{state}"}, match=match, match_related=OURS, posture=Posture.Reactive)
    return Alert(name, description, trigger, _SUBJECT % (kind or name), _TEXT % (happened, todo), kind)


def _of_night(kind: str, description: str) -> Alert:
    """An alert on an event that a night emitted."""
    trigger = EventTrigger(expect={f"recsys.night.{kind}"}, match_related=OURS, posture=Posture.Reactive)
    return Alert(kind, description, trigger, _OWN_SUBJECT, _OWN_TEXT, night="{{ event.payload|tojson }}")


ALERTS = (
    _of_run(
        "failed", "Failed", "A run ended with an error.", "failed; the published tables are as they were.",
        "the message above says it; the same night run again goes on where it broke off.", message=f"!{REFUSAL}",
    ),
    _of_run(
        "refused", "Failed", "The gate refused a night.",
        "was refused by the gate; the published tables are as they were.",
        "compare with the nights before; a person may still publish it, see docs/operations.md.",
        message=REFUSAL, kind="{% if 'SUSPICIOUS' in flow_run.state.message %}suspicious{% else %}refused{% endif %}",
    ),
    _of_run(
        "crashed", "Crashed", "A run's process died.", "died; the published tables are as they were.",
        "look for the cause (memory, the machine); the same night run again goes on where it broke off.",
    ),
    _of_run(
        "late", "Late", "A run has not begun in time.", "has not begun: no worker takes it.",
        "see that a worker runs and reaches the server; it then begins by itself, for the night it was meant for.",
    ),
    _of_run(
        "cancelled", "Cancelled", "A run was cancelled, by a person or because one was still running.",
        "was cancelled; the published tables are as they were.", "if the last night still runs, see what keeps it.",
    ),
    _of_night("stale", "A night was made from the last good copy of its input."),
    _of_night("suspicious", "A night's figures are odd."),
)  # fmt: skip
# A run whose machine died stays Running for ever, and would keep the next night from beginning.
ZOMBIE = AutomationCore(
    name=f"{PREFIX}zombie",
    description="A run that no longer sends heartbeats is marked as crashed, which is told of and frees its place.",
    trigger=EventTrigger(
        after={HEARTBEAT}, expect={HEARTBEAT, *ENDED}, match=RUNS, match_related=OURS,
        for_each={"prefect.resource.id"}, posture=Posture.Proactive, within=timedelta(seconds=SILENT_S),
    ),
    actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"No heartbeat for {SILENT_S} s: taken for dead.")],
)  # fmt: skip


def overlong(longest: timedelta) -> Alert:
    """The alert on a run that takes longer than that, which also cancels it: its place is free for the next night."""
    return Alert(
        "overlong",
        "A run that takes too long is cancelled, which frees its place for the next night.",
        EventTrigger(
            after={f"{RUN}Running"}, expect=ENDED, match=RUNS, match_related=OURS,
            for_each={"prefect.resource.id"}, posture=Posture.Proactive, within=longest,
        ),
        _SUBJECT % "overlong",
        _TEXT % (f"has run for {longest} and is cancelled.", "see what keeps it; the same night run again goes on."),
        more=(CancelFlowRun(),),
    )  # fmt: skip


def automations(blocks: Blocks, longest: timedelta = LONGEST) -> list[AutomationCore]:
    """All of them.

    Args:
        blocks: where alerts are to go.
        longest: that a run may take.
    """
    alerts = (*ALERTS, overlong(longest))
    found = [ZOMBIE, *filter(None, (alert.automation(blocks) for alert in alerts))]
    # Prefect's client leaves out what stands at its default, an action's type too, and the server then takes an action
    # for `do-nothing`. Validated from plain values everything counts as given; an owner is none of an update.
    return [AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"})) for automation in found]
