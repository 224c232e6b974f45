"""What is cut out of text before it is kept."""

import pytest

from omsweep.redaction import redacted


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no route to http://me:hunter2@host:5000/api", "no route to http://host:5000/api"),
        ("postgresql+psycopg2://me:hun@ter2@db/mlflow: timeout", "postgresql+psycopg2://db/mlflow: timeout"),
        ("http://me:hun/t@er?2@host:5000/a refused", "http://host:5000/a refused"),
        ("GET 'https://host/x?token=hunter2&page=2' failed", "GET 'https://host/x?token=***&page=2' failed"),
        ("https://b/x?X-Amz-Date=1&X-Amz-Signature=hunter2", "https://b/x?X-Amz-Date=1&X-Amz-Signature=***"),
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
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text
