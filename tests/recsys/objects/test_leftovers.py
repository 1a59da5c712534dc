"""Broken-off uploads are dropped, those of others are not, and no secret comes out of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from recsys.errors import RecsysError
from recsys.objects.address import Address
from recsys.objects.failures import hidden, told, words_of
from recsys.objects.folder import ObjectFolder
from recsys.objects.leftovers import drop_leftovers
from recsys.objects.service import aws_client


def left(prefix: str) -> list[str]:
    return [
        upload["Key"]
        for upload in aws_client().list_multipart_uploads(Bucket="tests", Prefix=prefix).get("Uploads", ())
    ]


def test_what_uploads_left_is_dropped(s3: Any) -> None:
    folder, client = ObjectFolder.at(s3.uri), aws_client()
    folder.put("whole", b"1")
    for name in ("a", "deep/er/b"):
        key = folder.address.joined(name).key
        upload = client.create_multipart_upload(Bucket="tests", Key=key)["UploadId"]
        client.upload_part(Bucket="tests", Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    other = f"{folder.address.key}-of-others/a"
    client.create_multipart_upload(Bucket="tests", Key=other)
    assert drop_leftovers(folder) == 2
    assert drop_leftovers(folder) == 0
    assert left(folder.address.key) == [other]
    assert [found.path for found in folder.find()] == ["whole"]


def test_who_may_not_list_them_is_warned(
    s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETthatiswrong")
    assert drop_leftovers(ObjectFolder.at(s3.uri)) == 0
    assert "cannot be looked for" in caplog.text
    assert "SECRETthatiswrong" not in caplog.text


def test_services_that_forget_by_themselves() -> None:
    assert drop_leftovers(ObjectFolder.at("az://container/a")) == drop_leftovers(ObjectFolder.at("gs://bucket/a")) == 0


ANSWER = """Generic S3 error: Error performing PUT https://acc.blob.example/c/k?sv=2&sig=SIGNED in 3ms, after 2 retries - \
Server returned non-2xx status code: 400 Bad Request: <?xml version="1.0"?><Error><Code>AuthorizationHeaderMalformed</Code>\
<Message>The key TOPSECRETKEY is not known</Message><AWSAccessKeyId>AKIDSECRET</AWSAccessKeyId>\
<StringToSign>SIGNED</StringToSign></Error>

Debug source:
Generic { uri: https://acc.blob.example/c/k?sig=SIGNED }"""


def test_words_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "TOPSECRETKEY")
    words = words_of(RuntimeError(ANSWER))
    assert "after 2 retries" in words
    assert "400 Bad Request: AuthorizationHeaderMalformed: The key <AZURE_STORAGE_ACCOUNT_KEY> is not known" in words
    for secret in ("SIGNED", "TOPSECRETKEY", "AKIDSECRET", "sig="):
        assert secret not in words


def test_switches_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SSE_BUCKET_KEY_ENABLED", "true")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "longenough")
    assert hidden("true longenough") == "true <AWS_SESSION_TOKEN>"


def test_no_cause_goes_along() -> None:
    """A traceback in a log would print it."""
    from obstore.exceptions import GenericError

    with pytest.raises(RecsysError) as error, told(Address("s3", "b", "k")):
        raise GenericError(ANSWER)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("a"), ZeroDivisionError()])
def test_failures_of_others_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, told(Address("s3", "b", "k")):
        raise error
    assert raised.value is error
