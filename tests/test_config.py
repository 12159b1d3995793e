"""Config: where settings are loaded from, and which ones are."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from asyncflask.config import Config, ConfigAttribute


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)


def test_defaults_are_copied() -> None:
    defaults = {"A": 1}
    config = Config("", defaults)
    config["A"] = 2
    assert defaults == {"A": 1}


def test_repr(config: Config) -> None:
    config["A"] = 1
    assert repr(config) == "<Config {'A': 1}>"


class TestAttribute:
    class App:
        debug = ConfigAttribute[bool]("DEBUG")
        days = ConfigAttribute[int]("DAYS", get_converter=int)

        def __init__(self) -> None:
            self.config = Config("", {"DEBUG": False, "DAYS": "3"})

    def test_reads_and_writes_the_config(self) -> None:
        app = self.App()
        app.debug = True
        assert app.config["DEBUG"] is True
        assert app.debug is True

    def test_converter(self) -> None:
        assert self.App().days == 3

    def test_on_the_class(self) -> None:
        assert isinstance(self.App.debug, ConfigAttribute)


class TestFromObject:
    def test_upper_case_attributes_inherited_too(self, config: Config) -> None:
        class Base:
            A = 1
            lower = 1

        class Settings(Base):
            B_2 = 2
            Mixed = 2

        config.from_object(Settings)
        assert config == {"A": 1, "B_2": 2}

    def test_by_import_name(self, config: Config) -> None:
        config.from_object("stat")
        assert config["ST_MODE"] == 0

    def test_nothing_of_that_name(self, config: Config) -> None:
        with pytest.raises(ImportError):
            config.from_object("no_such_module")


class TestFromPyfile:
    def test_is_run(self, config: Config, tmp_path: Path) -> None:
        (tmp_path / "settings.cfg").write_text("half = 21\nA = 2 * half\nFILE = __file__\n")
        assert config.from_pyfile("settings.cfg")
        assert config == {"A": 42, "FILE": str(tmp_path / "settings.cfg")}

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_coding_comment(self, config: Config, tmp_path: Path, encoding: str) -> None:
        source = f"# coding: {encoding}\nA = 'föö'\n"
        (tmp_path / "settings.py").write_text(source, encoding)
        config.from_pyfile("settings.py")
        assert config["A"] == "föö"

    def test_missing(self, config: Config) -> None:
        with pytest.raises(FileNotFoundError, match="Unable to load configuration file"):
            config.from_pyfile("missing.cfg")

        assert config.from_pyfile("missing.cfg", silent=True) is False

    def test_silent_is_not_blind(self, config: Config, tmp_path: Path) -> None:
        (tmp_path / "broken.cfg").write_text("A = ")

        with pytest.raises(SyntaxError):
            config.from_pyfile("broken.cfg", silent=True)


class TestFromEnvvar:
    def test_names_a_file(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "settings.cfg").write_text("A = 1")
        monkeypatch.setenv("SHOP_SETTINGS", "settings.cfg")
        assert config.from_envvar("SHOP_SETTINGS")
        assert config == {"A": 1}

    def test_unset(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SHOP_SETTINGS", raising=False)

        with pytest.raises(RuntimeError, match="'SHOP_SETTINGS' is not set"):
            config.from_envvar("SHOP_SETTINGS")

        assert config.from_envvar("SHOP_SETTINGS", silent=True) is False


class TestFromFile:
    def test_text(self, config: Config, tmp_path: Path) -> None:
        (tmp_path / "settings.json").write_text('{"A": 1, "lower": 2}')
        assert config.from_file("settings.json", load=json.load)
        assert config == {"A": 1}

    def test_binary(self, config: Config, tmp_path: Path) -> None:
        (tmp_path / "settings.toml").write_text("A = 1")
        config.from_file("settings.toml", load=tomllib.load, text=False)
        assert config == {"A": 1}

    def test_missing(self, config: Config) -> None:
        with pytest.raises(FileNotFoundError, match="Unable to load configuration file"):
            config.from_file("missing.json", load=json.load)

        assert config.from_file("missing.json", load=json.load, silent=True) is False


class TestFromPrefixedEnv:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("word", "word"), ("true", True), ("1.5", 1.5), ("[1]", [1]), ('"1"', "1")],
    )
    def test_json_or_else_text(
        self, config: Config, monkeypatch: pytest.MonkeyPatch, text: str, value: object
    ) -> None:
        monkeypatch.setenv("SHOP_A", text)
        monkeypatch.setenv("OTHER_SHOP_B", text)
        config.from_prefixed_env("SHOP")
        assert config == {"A": value}

    def test_flask_is_the_prefix(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLASK_A", "1")
        config.from_prefixed_env()
        assert config["A"] == 1

    def test_other_loads(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHOP_A", "1")
        config.from_prefixed_env("SHOP", loads=str)
        assert config == {"A": "1"}

    def test_into_dicts(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        config["MAIL"] = {"HOST": "mx", "TLS": {"ON": False}}
        monkeypatch.setenv("SHOP_MAIL__PORT", "25")
        monkeypatch.setenv("SHOP_MAIL__TLS__ON", "true")
        monkeypatch.setenv("SHOP_NEW__KEY", "1")
        config.from_prefixed_env("SHOP")
        assert config == {
            "MAIL": {"HOST": "mx", "PORT": 25, "TLS": {"ON": True}},
            "NEW": {"KEY": 1},
        }


class TestFromMapping:
    def test_upper_case_keys(self, config: Config) -> None:
        assert config.from_mapping({"A": 1, "lower": 1}, B=2, other=2)
        assert config == {"A": 1, "B": 2}

    def test_keywords_win(self, config: Config) -> None:
        config.from_mapping({"A": 1}, A=2)
        assert config == {"A": 2}


class TestGetNamespace:
    @pytest.fixture
    def config(self) -> Config:
        return Config("", {"MAIL_HOST": "mx", "MAIL_PORT": 25, "DEBUG": True})

    def test_default(self, config: Config) -> None:
        assert config.get_namespace("MAIL_") == {"host": "mx", "port": 25}

    def test_upper_case(self, config: Config) -> None:
        assert config.get_namespace("MAIL_", lowercase=False) == {"HOST": "mx", "PORT": 25}

    def test_whole_keys(self, config: Config) -> None:
        found = config.get_namespace("MAIL_", trim_namespace=False)
        assert found == {"mail_host": "mx", "mail_port": 25}
