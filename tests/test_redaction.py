"""What is cut out of text before it is kept or shown, and what is refused instead."""

import json

import pytest

from omsweep.redaction import SHORTEST, redacted, refuse_secrets, register, visible, without_credentials

SECRET = "s3cr/et\"-'value"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no route to http://me:hunter2@host:5000/api", "no route to http://host:5000/api"),
        ("postgresql+psycopg2://me:hun@ter2@db/mlflow: timeout", "postgresql+psycopg2://db/mlflow: timeout"),
        ("http://me:hun/t@er?2@host:5000/a refused", "http://host:5000/a refused"),
        ("https://hunter2@host/repo", "https://host/repo"),
        ("GET 'https://host/x?token=hunter2&page=2' failed", "GET 'https://host/x?token=***&page=2' failed"),
        ("https://b/x?X-Amz-Date=1&X-Amz-Signature=hunter2", "https://b/x?X-Amz-Date=1&X-Amz-Signature=***"),
        ("https://a.blob/x?sv=2024&sig=hunter2&design=1", "https://a.blob/x?sv=2024&sig=***&design=1"),
        ("https://b/x?X-Goog-Credential=hunter2&X-Goog-Date=1", "https://b/x?X-Goog-Credential=***&X-Goog-Date=1"),
        ("https://host/cb#access_token=hunter2", "https://host/cb#access_token=***"),
        ("(https://hub/a?api_key=hunter2)", "(https://hub/a?api_key=***)"),
    ],
)
def test_user_password_and_keys_are_cut_out_of_addresses(text: str, kept: str) -> None:
    assert redacted(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://host:5000/a?page=2",
        "http://host:5000/a@b",
        "sqlite:////me@x/m.db",
        "org/model@main",
        "ValueError: a@b: seed=3, key=x",
        "postgresql://mlflow@db/mlflow",
        "abfss://container@account.dfs.core.windows.net/sweeps",
        "git+ssh://git@host/repo",
        "http://127.0.0.1:5000/#/experiments/1/runs?compareRunsMode=CHART&viewStateShareKey=omsweep-1",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text
    refuse_secrets("--storage", text)


@pytest.mark.parametrize("name", ["HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"])
def test_values_of_secret_variables_are_cut_out_however_they_are_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    for text in (SECRET, repr(SECRET), json.dumps(SECRET), "http://host/?q=s3cr%2Fet%22-%27value"):
        assert "et" not in redacted(f"401: {text} is wrong").replace("***", "")
    monkeypatch.setenv(name, "x" * (SHORTEST - 1))
    assert redacted("an xxxxxxx") == "an xxxxxxx", "too short to be cut out"


def test_registered_values_are_cut_out_of_text_and_not_out_of_addresses() -> None:
    register("swordfish-1")
    assert redacted("said swordfish-1") == "said ***"
    assert without_credentials("postgresql://swordfish-1/x") == "postgresql://swordfish-1/x", "it has to stay one"


def test_a_refusal_names_the_key_and_the_way_for_its_kind() -> None:
    given = {"families": [{"base": "s3://AKIA:hunter2@bucket/x"}], "x": {"a": "https://h/x?sig=hunter2"}}
    with pytest.raises(ValueError, match="^families.0.base must not hold .*AWS_ACCESS_KEY_ID.* role$") as error:
        refuse_secrets("", given)
    with pytest.raises(ValueError, match=r"^x\.a must not hold .*folder that all nodes share.*`secrets:`"):
        refuse_secrets("", {"x": given["x"]})
    with pytest.raises(ValueError, match="^a key must not hold"):
        refuse_secrets("", {"http://a:hunter2@b": 1})
    assert "hunter2" not in str(error.value)


HOSTILE = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "nested": ("\x1b[\x1b[31m31mred", "\\u001b[31mred"),
    "title": ("\x1b]0;owned\x07", "\\u001b]0;owned\\u0007"),
    "link": ("\x1b]8;;http://evil\x1b\\text", "\\u001b]8;;http://evil\\u001b\\text"),
    "clipboard": ("\x1b]52;c;cm0=\x07", "\\u001b]52;c;cm0=\\u0007"),
    "one byte": ("\x9b2J", "\\u009b2J"),
    "bidi": ("a\u202egpj.exe\u2066", "a\\u202egpj.exe\\u2066"),
    "lines": ("failed\r\ndone\ttrial\rdone", "failed done trial done"),
    "surrogate": ("\udcff", "\\udcff"),
    "fine": ("größer 中文 👍\u200d", "größer 中文 👍\u200d"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert json.loads(visible(json.dumps({"a": text}, ensure_ascii=False))) is not None


def test_several_lines_stay_where_they_may() -> None:
    assert visible("a\r\nb\tc\rdone", lines=True) == "a\nb\tc\ndone"
