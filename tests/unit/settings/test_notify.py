"""``notify``, ``webhook_allow`` and ``secret_key`` in forebay.yaml and the environment."""

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.settings import Settings, load_settings, redacted

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a secret key").decode()
HOOK = f'{{url: "https://hook.example/token", secret: "{SECRET}", events: ["batch.*", "job.failed"]}}'


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "forebay.yaml"
    file.write_text(text)
    return load_settings(file, environ or {})


def problem(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(folder, text, environ)
    [sentence] = str(refused.value).splitlines()
    return sentence


def test_a_webhook_has_an_address_a_secret_and_events(tmp_path: Path) -> None:
    settings = load(tmp_path, f"notify: {{webhooks: [{HOOK}]}}")
    [hook] = settings.webhooks
    assert (hook.url, hook.secret, hook.events) == ("https://hook.example/token", SECRET, ("batch.*", "job.failed"))
    assert hook.id.startswith("config_")


def test_without_events_it_hears_of_all(tmp_path: Path) -> None:
    [hook] = load(tmp_path, f'notify: {{webhooks: [{{url: "https://a.example", secret: "{SECRET}"}}]}}').webhooks
    assert hook.events == ()


def test_nothing_of_it_is_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, f"secret_key: a key that nobody sees\nnotify: {{webhooks: [{HOOK}]}}")
    for shown in (repr(redacted(settings)), repr(settings)):
        assert SECRET not in shown
        assert "token" not in shown
        assert "nobody sees" not in shown


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{}", "needs a url"),
        (f'{{url: "nonsense", secret: "{SECRET}"}}', "begins with https://"),
        (f'{{url: "https://u:p@a.example", secret: "{SECRET}"}}', "no user name"),
        (f'{{url: "http://10.0.0.1/", secret: "{SECRET}"}}', "private"),
        (f'{{url: "http://[::1]/", secret: "{SECRET}"}}', "private"),
        ('{url: "https://a.example"}', "needs a secret"),
        ('{url: "https://a.example", secret: "hunter2"}', "whsec_"),
        ('{url: "https://a.example", secret: "whsec_c2hvcnQ="}', "16 to 64 bytes"),
        (f'{{url: "https://a.example", secret: "{SECRET}", events: []}}', "names no event"),
        (f'{{url: "https://a.example", secret: "{SECRET}", events: [batch.done]}}', "'batch.done' names none"),
        (f'{{url: "https://a.example", secret: "{SECRET}", evnts: [x]}}', "unknown key"),
    ],
)
def test_a_webhook_that_is_wrong_is_refused_with_its_line(tmp_path: Path, entry: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, f"notify:\n  webhooks:\n    - {entry}")
    assert "line 3: notify.webhooks[0]" in str(refused.value)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_address_stands_once(tmp_path: Path) -> None:
    assert "stands twice" in problem(tmp_path, f"notify: {{webhooks: [{HOOK}, {HOOK}]}}")


def test_the_network_of_a_private_address_may_be_allowed(tmp_path: Path) -> None:
    hook = f'{{url: "http://10.0.0.1/", secret: "{SECRET}"}}'
    text = f'webhook_allow: [10.0.0.0/8, "fd00::/8"]\nnotify: {{webhooks: [{hook}]}}'
    settings = load(tmp_path, text)
    assert settings.webhook_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert len(settings.webhooks) == 1


def test_networks_come_from_the_environment_too(tmp_path: Path) -> None:
    settings = load(tmp_path, "", {"FOREBAY_WEBHOOK_ALLOW": "10.0.0.0/8, 127.0.0.1"})
    assert settings.webhook_allow == (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"))
    assert "is no network" in problem(tmp_path, "", {"FOREBAY_WEBHOOK_ALLOW": "10.0.0.1/8"})
    assert "list of networks" in problem(tmp_path, "webhook_allow: {a: b}")


def test_a_secret_key_is_long_enough(tmp_path: Path) -> None:
    assert load(tmp_path, "").secret_key is None
    assert load(tmp_path, "", {"FOREBAY_SECRET_KEY": "k" * 16}).secret_key == "k" * 16
    sentence = problem(tmp_path, "secret_key: tooshort")
    assert "16 characters" in sentence
    assert "tooshort" not in sentence


def test_where_agents_reach_the_server_is_an_address_and_needs_a_secret(tmp_path: Path) -> None:
    assert load(tmp_path, "").public_url is None
    assert load(tmp_path, "public_url: https://hub.example/forebay/").public_url == "https://hub.example/forebay"
    assert load(tmp_path, "", {"FOREBAY_PUBLIC_URL": "https://hub.example"}).public_url == "https://hub.example"
    for wrong in ("hub.example", "https://hub.example?x=1", "https://user:pw@hub.example", "ftp://hub.example"):
        assert "public_url" in problem(tmp_path, f"public_url: '{wrong}'")
    shared = "public_url: https://hub.example\nstore: postgresql://f@db/forebay\nblobs: b\n"
    assert "needs secret_key" in problem(tmp_path, shared)
    assert load(tmp_path, shared + "secret_key: 0123456789abcdef").public_url == "https://hub.example"
