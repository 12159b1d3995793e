"""moto's server, ``moto_server``, which has a Flask app per service below a WSGI dispatcher of its
own, on Werkzeug's server; asked by boto3. And one of its apps alone, by ASGI."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from servers import Process
from serving import UNDER_FLASK

WHO = {
    "region_name": "us-east-1",
    "aws_access_key_id": "a",
    "aws_secret_access_key": "b",
}


@pytest.fixture(scope="module")
def server():
    command = Path(sys.executable).with_name("moto_server")
    with Process([str(command), "-H", "127.0.0.1", "-p", "{port}"]) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def client(server):
    return lambda service: boto3.client(service, endpoint_url=server.url, **WHO)


def test_s3(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="books")
    body = os.urandom(3_000_000)
    s3.put_object(Bucket="books", Key="a/ü b", Body=body, Metadata={"of": "mine"})
    got = s3.get_object(Bucket="books", Key="a/ü b")
    assert got["Body"].read() == body
    assert got["Metadata"] == {"of": "mine"}
    part = s3.get_object(Bucket="books", Key="a/ü b", Range="bytes=5-9")
    assert part["Body"].read() == body[5:10]
    assert s3.head_object(Bucket="books", Key="a/ü b")["ContentLength"] == len(body)
    assert [key["Key"] for key in s3.list_objects_v2(Bucket="books")["Contents"]] == ["a/ü b"]
    assert "books" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.delete_object(Bucket="books", Key="a/ü b")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="books", Key="a/ü b")


def test_s3_in_parts(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="parts")
    upload = s3.create_multipart_upload(Bucket="parts", Key="k")["UploadId"]
    where = {"Bucket": "parts", "Key": "k", "UploadId": upload}
    tags = [
        s3.upload_part(**where, PartNumber=number, Body=b"%d" % number * 5_242_880)["ETag"]
        for number in (1, 2)
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket="parts", Key="k")["ContentLength"] == 2 * 5_242_880


def test_sqs(client):
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"


def test_dynamodb(client):
    db = client("dynamodb")
    db.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"id": {"S": "1"}, "value": {"N": "5"}}
    db.put_item(TableName="t", Item=item)
    assert db.get_item(TableName="t", Key={"id": {"S": "1"}})["Item"] == item


def test_side_by_side(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="many")

    def put(number):
        s3.put_object(Bucket="many", Key=str(number), Body=b"x" * number)
        return len(s3.get_object(Bucket="many", Key=str(number))["Body"].read())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(put, range(40))) == list(range(40))


@pytest.mark.skipif(UNDER_FLASK, reason="Flask has no such door.")
def test_by_asgi(tmp_path):
    (tmp_path / "s3_alone.py").write_text(
        "from moto.server import create_backend_app\n\napp = create_backend_app('s3')\n"
    )
    command = [sys.executable, "-m", "uvicorn", "s3_alone:app", "--port", "{port}"]
    with Process(command, cwd=tmp_path) as server:
        s3 = boto3.client("s3", endpoint_url=server.url, **WHO)
        s3.create_bucket(Bucket="books")
        s3.put_object(Bucket="books", Key="a", Body=b"x" * 1_000_000)
        assert len(s3.get_object(Bucket="books", Key="a")["Body"].read()) == 1_000_000
        assert "Traceback" not in server.output, server.output


def test_the_app_itself_as_wsgi():
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.test import Client

    client = Client(DomainDispatcherApplication(create_backend_app))
    assert client.put("/wsgi-bucket", base_url="http://localhost").status_code == 200
    assert "wsgi-bucket" in client.get("/", base_url="http://localhost").text
