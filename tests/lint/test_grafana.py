"""Grafana's configuration, as far as it can be judged without its image, which no package holds.

Its own words: the provisioning reference and conf/defaults.ini of Grafana 12, pkg/middleware/subpath_redirect.go (what is asked
below another path than the sub-path is redirected, but for /api), and the JMESPath of auth.generic_oauth.
"""

from __future__ import annotations

import configparser
import importlib
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from .deployed import Deployed

PROVISIONED = {
    "datasources": {
        "": {"apiVersion", "datasources", "deleteDatasources", "prune"},
        "datasources": {
            "name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth", "basicAuthUser",
            "withCredentials", "isDefault", "jsonData", "secureJsonData", "version", "editable", "correlations",
        },
    },
    "dashboards": {
        "": {"apiVersion", "providers"},
        "providers": {
            "name", "orgId", "folder", "folderUid", "type", "disableDeletion", "editable", "updateIntervalSeconds",
            "allowUiUpdates", "options",
        },
    },
}  # fmt: skip
"""Folder of provisioning -> list in its files ("": the file itself) -> keys that Grafana 12 reads."""
JSON_DATA = {
    "httpMethod", "timeInterval", "manageAlerts", "alertmanagerUid", "customQueryParameters", "tlsAuthWithCACert", "tlsAuth",
    "serverName", "tlsSkipVerify", "timeout",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(deployed: Deployed) -> dict[str, str]:
    return deployed.config("grafana")


@pytest.fixture(scope="module")
def ini(files: dict[str, str]) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(files["grafana.ini"])
    return parser


def provisioned(files: dict[str, str], folder: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for path, text in files.items() if path.startswith(f"provisioning/{folder}/")]


def data_sources(files: dict[str, str]) -> list[dict[str, Any]]:
    return [source for file in provisioned(files, "datasources") for source in file["datasources"]]


@pytest.mark.parametrize("folder", PROVISIONED)
def test_provisioning_has_only_keys_that_grafana_reads(files: dict[str, str], folder: str) -> None:
    found = provisioned(files, folder)
    assert found
    for file in found:
        assert set(file) <= PROVISIONED[folder][""]
        for name, keys in PROVISIONED[folder].items():
            assert not [one for one in file.get(name, ()) if name and set(one) - keys]


def test_scrape_asks_below_the_sub_path_as_everything_does(deployed: Deployed, ini: configparser.ConfigParser) -> None:
    below = urlsplit(ini["server"]["root_url"]).path
    jobs = {job["job_name"]: job for job in yaml.safe_load(deployed.config("prometheus")["prometheus.yml"])["scrape_configs"]}

    assert ini.getboolean("server", "serve_from_sub_path")
    assert jobs["grafana"]["metrics_path"] == f"{below}metrics"


def test_every_data_source_is_used_and_known(files: dict[str, str]) -> None:
    assert {source["type"] for source in data_sources(files)} == {"prometheus"}, "alerting is off: another one would be dead"
    assert all(set(source["jsonData"]) <= JSON_DATA for source in data_sources(files))
    assert all(file["prune"] for file in provisioned(files, "datasources")), "one of an earlier release would stay"


def test_dashboards_that_are_removed_here_are_removed_there(files: dict[str, str]) -> None:
    providers = [one for file in provisioned(files, "dashboards") for one in file["providers"]]
    assert [(one["disableDeletion"], one["allowUiUpdates"]) for one in providers] == [(False, False)]


def test_pages_have_a_policy_that_lets_nothing_in_from_elsewhere(ini: configparser.ConfigParser) -> None:
    policy = ini["security"]["content_security_policy_template"].strip('"')
    directives = {
        name: set(rest.split()) for name, _, rest in (part.strip().partition(" ") for part in policy.split(";") if part)
    }

    assert ini.getboolean("security", "content_security_policy")
    assert {"$NONCE", "'strict-dynamic'"} <= directives["script-src"]
    assert directives["frame-ancestors"] == directives["object-src"] == {"'none'"}
    own = {
        "'self'",
        "'none'",
        "'unsafe-inline'",
        "'unsafe-eval'",
        "'strict-dynamic'",
        "$NONCE",
        "data:",
        "blob:",
        "wss://$ROOT_PATH",
    }
    assert not set().union(*directives.values()) - own


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"sub": "1a2b", "preferred_username": "ann", "email": "ann@example.com"}, "ann@example.com"),
        ({"sub": "1a2b", "preferred_username": "ann"}, "1a2b@users.invalid"),
        ({"sub": "1a2b", "preferred_username": "ann", "email": ""}, "1a2b@users.invalid"),
    ],
)
def test_user_without_an_address_can_log_in(ini: configparser.ConfigParser, claims: dict[str, str], email: str) -> None:
    """Grafana refuses a user of whom it finds none (auth.oauth.email.missing)."""
    jmespath = importlib.import_module("jmespath")
    assert jmespath.search(ini["auth.generic_oauth"]["email_attribute_path"], claims) == email
