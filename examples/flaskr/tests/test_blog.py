import pytest

POST = {"title": "First", "body": "Hello,\n<world> & all"}


def test_nothing_yet(stranger):
    page = stranger.get("/")
    assert "No posts yet." in page
    assert "New post" not in page


def test_create(ada, stranger):
    assert "New post" in ada.get("/create")
    response = ada.client.post("/create", data=POST)
    assert response.status_code == 302
    assert response.location == "/"
    for visitor in ada, stranger:
        page = visitor.get("/")
        assert "<h2>First</h2>" in page
        assert "Hello,\n&lt;world&gt; &amp; all" in page
        assert "Ada, <time" in page
        assert ("/1/edit" in page) is (visitor is ada)


def test_newest_comes_first(ada, bob):
    ada.post("/create", title="Older", body="")
    page = bob.post("/create", title="Newer", body="")
    assert page.index("Newer") < page.index("Older")


def test_edit(ada):
    ada.post("/create", **POST)
    page = ada.get("/1/edit")
    assert 'value="First"' in page
    assert "&lt;world&gt;" in page
    page = ada.post("/1/edit", title="Second thoughts", body="Hm")
    assert "Second thoughts" in page
    assert "First" not in page


def test_delete(ada):
    ada.post("/create", **POST)
    assert "No posts yet." in ada.post("/1/delete")
    assert ada.client.get("/1/edit").status_code == 404


@pytest.mark.parametrize("path", ["/create", "/1/edit"])
@pytest.mark.parametrize("title", ["", "   ", "x" * 101])
def test_title_is_checked(ada, path, title):
    ada.post("/create", **POST)
    page = ada.post(path, title=title, body="Not lost")
    assert "A title has 1 to 100 characters." in page
    assert "Not lost" in page
    assert "First" in ada.get("/")


@pytest.mark.parametrize("path", ["/create", "/1/edit", "/1/delete"])
def test_strangers_are_sent_to_log_in(ada, stranger, path):
    ada.post("/create", **POST)
    response = stranger.client.post(path, data=POST)
    assert response.status_code == 302
    assert response.location == "/auth/login"
    assert ada.get("/").count("<h2>") == 1


@pytest.mark.parametrize("path", ["/1/edit", "/1/delete"])
def test_only_the_author_changes_a_post(ada, bob, path):
    ada.post("/create", **POST)
    assert bob.client.post(path, data={"title": "Mine", "body": ""}).status_code == 403
    assert "First" in bob.get("/")


@pytest.mark.parametrize("path", ["/2/edit", "/2/delete"])
def test_no_such_post(ada, path):
    assert ada.client.post(path, data=POST).status_code == 404


def test_delete_is_not_a_link(ada):
    ada.post("/create", **POST)
    assert ada.client.get("/1/delete").status_code == 405
