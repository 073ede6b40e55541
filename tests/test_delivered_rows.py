"""Rows S04 and S05 of the catalogue, as far as they stand in what we hand over: no secret in it, and nothing unpinned."""
# ruff: noqa: N802 (rows have capital names)

import math
import re
import subprocess
import tomllib
from collections import Counter

import pytest
import yaml

from tests.kit.node import ROOT

# Keys as they look wherever they come from, and what is assigned to a name that speaks of a secret.
_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\b(?:AKIA|ghp_|glpat-|xox[bp]-|sk_live_)[A-Za-z0-9_-]{16,}")
_ASSIGNED = re.compile(r"(?i)(?:password|passwd|secret|token|api_?key)\w*[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9+/=_-]{16,})")
_FILES = ("gateway", "templates", "migrations", "script", ".ci", "Dockerfile", "docker-compose.yml", "README.md")
_ENTROPY = 3.2  # bits a letter: words and names have less, keys have more


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z", *_FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git repository: what is handed over cannot be told from what lies about")
    return [each for each in done.stdout.split("\0") if each]


def entropy(text: str) -> float:
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def secrets_in(text: str) -> list[str]:
    assigned = [each for each in _ASSIGNED.findall(text) if any(c.isdigit() for c in each) and entropy(each) > _ENTROPY]
    return [each[0] for each in _KEY.finditer(text)] + assigned


def test_S04_no_secret_stands_in_what_is_handed_over():
    files = tracked()
    assert {"Dockerfile", "docker-compose.yml", "gateway/keyring.py", "templates/site/gateway.yaml"} <= set(files)
    found = {name: secrets_in((ROOT / name).read_bytes().decode("utf-8", "replace")) for name in files}
    assert {name: each for name, each in found.items() if each} == {}


def test_S04_a_secret_would_be_found():
    for text in (
        "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "password: hT8s0x91mPq2LkVz7RwA", "API_KEY=9f86d081884c7d659a2feaa0c55ad015", "'token': 'q8Zr5Tn1XcVb3Ym7Kp0L'",
    ):  # fmt: skip
        assert secrets_in(text), text
    for text in ("password_file: /run/secrets/postgres", "POSTGRES_PASSWORD_FILE: /run/secrets/postgres", "secret=field(repr=False)"):  # fmt: skip
        assert secrets_in(text) == [], text


def test_S04_the_image_and_its_services_are_given_secrets_as_files_only():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    assert services
    for name, service in services.items():
        for variable in service.get("environment", {}):
            assert not re.search(r"PASS|SECRET|TOKEN|KEY", variable) or variable.endswith("FILE"), (name, variable)
        assert service.get("env_file") is None, name
        assert "no-new-privileges:true" in service["security_opt"], name
    image = (ROOT / "Dockerfile").read_text("utf-8")
    given = re.findall(r"^(?:ENV|ARG)\s+(.*)$", image, re.MULTILINE)
    assert not [each for each in given if re.search(r"PASS|SECRET|TOKEN|_KEY", each)]
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", image, re.MULTILINE) for word in line.split()[:-1]}
    assert copied <= {
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "gateway",
        "templates",
        "migrations",
    }
    assert re.search(r"^USER (?!0\b|root\b)\S+", image, re.MULTILINE), "it does not run as root"


def locked(name: str) -> dict[str, list[str]]:
    """Return what a lock pins, by package: its hashes."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            assert re.match(r"[A-Za-z0-9._-]+(?:\[[^]]*\])?==[^\s;]+(?:\s|$)", line.strip()), line
            found[normal(re.split(r"[=\[]", line.strip())[0])] = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_S05_every_package_is_pinned_and_has_its_hashes(name):
    pinned = locked(name)
    assert len(pinned) > 20
    assert [each for each, hashes in pinned.items() if not hashes] == []


@pytest.mark.parametrize(("extra", "name"), [("", "requirements.lock"), ("dev", "requirements-dev.lock")])
def test_S05_whatever_the_project_needs_is_in_its_lock(extra, name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = project["optional-dependencies"][extra] if extra else project["dependencies"]
    names = {normal(re.split(r"[\s<>=!~;\[]", each)[0]) for each in needed}
    assert names - set(locked(name)) == set()


def test_S05_the_image_installs_by_hash_alone():
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-deps" in line, line
