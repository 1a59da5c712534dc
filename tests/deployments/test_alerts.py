"""The alerts as data: which state sets off which, and what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.server.events.actions import JinjaTemplateAction
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.utilities.user_templates import render_user_template_sync

from deployments.alerts import ALERTS, LONGEST, PREFIX, ZOMBIE, Blocks, automations, overlong
from deployments.channels import Channels, channels_from_environment
from deployments.definitions import ENVIRONMENT
from recsys.errors import GateRefused, InputRefused, UsageError

# Apprise, which sends the e-mail, still asks for a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
BOTH = Blocks(uuid4(), uuid4())
NASTY = 'a "quoted" \\ line\nand {{ another }} {% raw %} </script>'
BY_NAME = {alert.name: alert for alert in ALERTS}


def state_message(error: Exception) -> str:
    """As Prefect words it."""
    return f"Flow run encountered an exception: {type(error).__name__}: {error}"


def event(name: str, message: str = "", tag: str = "recsys") -> ReceivedEvent:
    resource = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}", "prefect.state-message": message}
    tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}]
    now = datetime.now(UTC)
    return ReceivedEvent(event=name, resource=resource, related=tags, occurred=now, received=now, id=uuid4())


def set_off(happened: ReceivedEvent) -> list[str]:
    """The alerts that the server would send at once."""
    found = []
    for automation in automations(BOTH):
        trigger = EventTrigger.model_validate(automation.trigger.model_dump())
        if trigger.posture.value == "Reactive" and trigger.covers(happened) and trigger.expects(happened.event):
            found.append(automation.name.removeprefix(PREFIX))
    return found


@pytest.mark.parametrize(
    ("happened", "alerts"),
    [
        (event("prefect.flow-run.Failed", state_message(GateRefused("Refused."))), ["refused"]),
        (event("prefect.flow-run.Failed", state_message(InputRefused("Bad.", found="GateRefused"))), ["failed"]),
        (event("prefect.flow-run.Failed"), ["failed"]),
        (event("prefect.flow-run.Crashed"), ["crashed"]),
        (event("prefect.flow-run.Late"), ["late"]),
        (event("prefect.flow-run.Cancelled"), ["cancelled"]),
        (event("recsys.night.stale"), ["stale"]),
        (event("recsys.night.suspicious"), ["suspicious"]),
        (event("prefect.flow-run.Completed"), []),
        (event("prefect.flow-run.Failed", tag="another"), []),
        (event("recsys.night.stale", tag="another"), []),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else value.event,
)
def test_one_alert_for_what_happened(happened: ReceivedEvent, alerts: list[str]) -> None:
    assert set_off(happened) == alerts


def rendered(template: str, message: str = NASTY) -> str:
    JinjaTemplateAction._register_filters_if_needed()
    context = {
        "flow_run": SimpleNamespace(name="night-2026-11-21", state=SimpleNamespace(message=message, name="Failed")),
        "flow": SimpleNamespace(name="nightly"),
        "event": SimpleNamespace(
            event="prefect.flow-run.Failed", occurred=datetime(2026, 11, 21, tzinfo=UTC),
            payload={"subject": "Night", "text": NASTY, "run_id": "1"},
        ),
    }  # fmt: skip
    return render_user_template_sync(template, context)


@pytest.mark.parametrize("alert", [*ALERTS, overlong(LONGEST)], ids=lambda alert: alert.name)
def test_the_webhooks_json_is_json_whatever_is_told(alert) -> None:
    told = json.loads(rendered(alert.payload))
    assert set(told) == {"kind", "subject", "text", "event", "occurred", "night"}
    assert told["kind"] == alert.name
    assert NASTY in told["text"]
    assert told["text"] == rendered(alert.text)
    assert "\n" not in told["subject"]


def test_a_refused_night_that_is_suspicious_is_called_so() -> None:
    told = json.loads(rendered(BY_NAME["refused"].payload, "GateRefused: The gate calls run 1 SUSPICIOUS; it is not"))
    assert told["kind"] == "suspicious"
    assert told["subject"].endswith(": suspicious")


def test_without_an_address_only_what_clears_up_is_left() -> None:
    assert [each.name for each in automations(Blocks(None, None))] == ["recsys: zombie", "recsys: overlong"]
    (webhook_only,) = {len(each.actions) for each in automations(Blocks(uuid4(), None))[1:-1]}
    assert webhook_only == 1


def test_how_long_a_run_may_take_is_what_was_asked_for() -> None:
    last = automations(BOTH, timedelta(hours=30))[-1]
    assert last.trigger.within == timedelta(hours=30)
    assert "has run for 1 day, 6:00:00" in last.actions[1].payload
    assert automations(BOTH)[-1].trigger.within == LONGEST


def test_what_is_sent_to_the_server_names_every_action() -> None:
    """Prefect's client leaves out what is at its default: such an action would become one that does nothing."""
    for automation in automations(BOTH):
        sent = automation.model_dump(mode="json", exclude_unset=True)
        assert all("type" in action for action in sent["actions"])
        assert "posture" in sent["trigger"]


def test_a_run_is_taken_for_dead_after_more_than_two_heartbeats() -> None:
    assert ZOMBIE.trigger.within >= 2.5 * timedelta(seconds=int(ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECSYS_ALERT_WEBHOOK", "ftp://s3cret"),
        ("RECSYS_ALERT_EMAIL", "s3cret"),
        ("RECSYS_ALERT_EMAIL", "json://s3cret"),
    ],
)
def test_a_wrong_address_is_refused_and_not_shown(name: str, value: str, monkeypatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name) as refused:
        channels_from_environment()
    assert "s3cret" not in str(refused.value)


def test_addresses_are_not_shown(monkeypatch) -> None:
    monkeypatch.setenv("RECSYS_ALERT_WEBHOOK", "https://example.org/s3cret")
    monkeypatch.setenv("RECSYS_ALERT_EMAIL", "mailtos://me:s3cret@example.org:587?to=ops@example.org")
    found = channels_from_environment()
    assert "s3cret" not in repr(found)
    assert found.email is not None
    assert found.email.get_secret_value().endswith("&format=text")
    monkeypatch.delenv("RECSYS_ALERT_WEBHOOK")
    monkeypatch.delenv("RECSYS_ALERT_EMAIL")
    assert channels_from_environment() == Channels()
