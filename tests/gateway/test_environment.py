from __future__ import annotations

from pathlib import Path

import pytest

from gateway import environment
from tests.gateway.examples import CEO_KEY, KEY_HASHES, TEAMS_JSON

CONFIG = "model_list: [{litellm_params: {api_key: os.environ/OPENAI_API_KEY}}]  # not os.environ/THIS\n"
DATABASE = [
    "DATABASE_URL",
    "DIRECT_URL",
    "DATABASE_URL_READ_REPLICA",
    "DATABASE_HOST",
    "DATABASE_USERNAME",
    "DATABASE_PASSWORD",
    "DATABASE_NAME",
    "LITELLM_PGBOUNCER_POOLED_DATABASE_URL",
    "STORE_MODEL_IN_DB",
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "litellm.yaml").write_text(CONFIG)
    (tmp_path / "teams.json").write_text(TEAMS_JSON)
    return {
        "CONFIG_FILE_PATH": str(tmp_path / "litellm.yaml"),
        "LITELLM_MASTER_KEY": "sk-master",
        "OPENAI_API_KEY": "sk-provider",
        "REDIS_URL": "redis://127.0.0.1",
        "TEAM_KEY_HASHES": KEY_HASHES,
    }


def test_nothing_of_a_database_is_left(environ: dict[str, str]) -> None:
    environ |= dict.fromkeys(DATABASE, "postgresql://somewhere")
    environment.prepare(environ)
    assert not [name for name, value in environ.items() if value == "postgresql://somewhere"]


def test_what_litellm_needs_stays_and_our_settings_win(environ: dict[str, str]) -> None:
    environ |= {"LITELLM_MODE": "DEV", "LITELLM_LOG": "WARNING", "PATH": "/bin"}
    environment.prepare(environ)
    assert environ["LITELLM_MODE"] == "PRODUCTION"
    assert environ["LITELLM_LOG"] == "WARNING"
    assert environ["OPENAI_API_KEY"] == "sk-provider"
    assert environ["PATH"] == "/bin"


def test_the_keys_are_read(environ: dict[str, str]) -> None:
    owner = environment.prepare(environ).owner(CEO_KEY.encode())
    assert owner is not None
    assert owner.team.name == "prod_ceo"


@pytest.mark.parametrize("name", ["LITELLM_MASTER_KEY", "OPENAI_API_KEY", "REDIS_URL", "TEAM_KEY_HASHES"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_variable_is_named(environ: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        del environ[name]
    else:
        environ[name] = value
    with pytest.raises(environment.StartError) as caught:
        environment.prepare(environ)
    assert f"The environment variable {name}" in str(caught.value)
    assert "missing or empty" in str(caught.value)
    assert "THIS" not in str(caught.value)


@pytest.mark.parametrize("file", ["litellm.yaml", "teams.json"])
def test_a_missing_or_empty_file_is_named(environ: dict[str, str], tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("")
    with pytest.raises(environment.StartError, match=f"{file}.* is empty"):
        environment.prepare(dict(environ))
    (tmp_path / file).unlink()
    with pytest.raises(environment.StartError, match=f"{file}.* cannot be read: No such file"):
        environment.prepare(dict(environ))


def test_wrong_content_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(environment.StartError, match="TEAM_KEY_HASHES is wrong: no keys for prod_ceo"):
        environment.prepare(environ | {"TEAM_KEY_HASHES": KEY_HASHES.replace("prod_ceo", "prod_customer")})
    (tmp_path / "litellm.yaml").write_text("a: [")
    with pytest.raises(environment.StartError, match=r"litellm\.yaml is not YAML"):
        environment.prepare(dict(environ))


@pytest.mark.parametrize(("value", "setting"), [(None, "open"), ("open", "open"), ("closed", "closed")])
def test_without_redis_it_counts_on_or_refuses(environ: dict[str, str], value: str | None, setting: str) -> None:
    if value is not None:
        environ["LIMITS_WITHOUT_REDIS"] = value
    environment.prepare(environ)
    assert environment.without_redis(environ) == setting


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("LIMITS_WITHOUT_REDIS", "must be open or closed"), ("REDIS_URL", "must begin with redis:// or rediss://")],
)
def test_a_wrong_value_is_named_and_not_repeated(environ: dict[str, str], name: str, sentence: str) -> None:
    with pytest.raises(environment.StartError, match=f"{name} {sentence}") as caught:
        environment.prepare(environ | {name: "a-secret"})
    assert "a-secret" not in str(caught.value)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(environment.StartError) as caught:
        environment.prepare({"CONFIG_FILE_PATH": str(tmp_path / "none.yaml")})
    for problem in ("none.yaml", "teams.json", "LITELLM_MASTER_KEY", "TEAM_KEY_HASHES"):
        assert problem in str(caught.value)
