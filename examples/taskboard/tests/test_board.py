import pytest
from asyncflask.asgi.client import WebSocketDenied


def test_strangers_are_sent_to_the_login_page(client):
    assert client.get("/").location.startswith("/login")


def test_add_and_finish_a_task(ada):
    page = ada.post("/tasks", data={"title": "Make <tea>"}, follow_redirects=True).text
    assert "Make &lt;tea&gt;" in page
    assert 'class="done"' not in page
    assert 'class="done"' in ada.post("/tasks/1/toggle", follow_redirects=True).text


@pytest.mark.parametrize("title", ["", " ", "x" * 81])
def test_titles_that_are_refused(ada, title):
    assert ada.post("/tasks", data={"title": title}).status_code == 400
    assert "Nothing to do." in ada.get("/tasks").text


def test_names_are_taken_once(ada, app):
    form = {"name": "Ada", "password": "another horse"}
    assert "This name is taken." in app.test_client().post("/register", data=form).text


def test_pages_are_told_of_changes(ada):
    with ada.websocket_connect("/live") as page:
        ada.post("/tasks", data={"title": "Make tea"})
        assert page.receive_json() == {"changed": True}


def test_strangers_are_told_nothing(client):
    with pytest.raises(WebSocketDenied) as denied:
        with client.websocket_connect("/live"):
            pass
    assert denied.value.status_code == 401
