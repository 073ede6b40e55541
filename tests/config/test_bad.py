"""Every way to write a bad site that we thought of, and the words an administrator is given for it."""

import random
import shutil
from pathlib import Path

import pytest

from gateway.document import Bad, Document, read
from gateway.site import Site, load
from tests.kit.node import ROOT, replygate, write_site

EXAMPLE = ROOT / "templates" / "site"
CASES = sorted(path for path in (Path(__file__).parent / "bad").iterdir() if path.is_dir())
FILES = ("gateway.yaml", "people.yaml", "rules.yaml")
MUTATIONS = 200


def lay_out(case: Path, folder: Path) -> Path:
    """Write a site: the case's own file, and the example's for the others."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(case / name if (case / name).exists() else EXAMPLE / name, folder / name)
    return folder / "gateway.yaml"


def edited(folder: Path, name: str, old: str, new: str) -> Path:
    """Write the example site with one edit."""
    path = lay_out(Path("/nowhere"), folder)
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(Bad) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_file_is_told_by_place_what_and_mend(case, tmp_path):
    assert problems(lay_out(case, tmp_path)) == (case / "expected.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_changes_one_file_only(case):
    assert len([name for name in FILES if (case / name).exists()]) == 1


def test_the_example_sites_are_good(tmp_path):
    assert isinstance(load(lay_out(Path("/nowhere"), tmp_path)), Site)
    shutil.copy(EXAMPLE / "gateway.local.yaml", tmp_path / "gateway.yaml")
    assert isinstance(load(tmp_path / "gateway.yaml"), Site)


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=lambda case: case.name)
def test_check_prints_the_problems_on_stderr_and_exits_1(case, tmp_path):
    lay_out(case, tmp_path)
    done = replygate(tmp_path, "check", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == (case / "expected.txt").read_text("utf-8").splitlines()


def test_check_of_a_good_site_exits_0(tmp_path):
    done = replygate(write_site(tmp_path), "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "No problems.\n", "")


def test_the_problems_of_all_three_files_are_told_at_once(tmp_path):
    for name, kind in zip(FILES, ("unknown-key", "unknown-right", "unknown-team"), strict=True):
        case = next(case for case in CASES if case.name.endswith(kind))
        shutil.copy(case / name, tmp_path / name)
    assert {line.partition(":")[0] for line in problems(tmp_path / "gateway.yaml")} == set(FILES)


def test_a_file_that_is_not_there_is_told(tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    (tmp_path / "rules.yaml").unlink()
    assert problems(path) == [
        "rules.yaml:1:1: cannot be read: No such file or directory; `replygate init DIR` writes an example"
    ]


def test_an_empty_file_is_told_what_it_lacks(tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    (tmp_path / "people.yaml").write_bytes(b"")
    assert problems(path) == ["people.yaml:1:1: the key 'people' is missing; add `people: …` here"]


def test_a_misspelt_team_does_not_hide_a_misspelt_person(tmp_path):
    path = edited(tmp_path, "rules.yaml", "  - team: sales\n    who: chia", "  - team: sale\n    who: chai")
    told = "\n".join(problems(path))
    assert "unknown team 'sale'" in told
    assert "unknown person 'chai'" in told


def test_a_password_in_a_url_is_not_repeated_and_the_mend_names_password_file(tmp_path):
    path = edited(tmp_path, "gateway.yaml", "smtp://mail.example.com:25", "smtps://u:hunter2@mail.example.com")
    (told,) = problems(path)
    assert "hunter2" not in told
    assert "password_file" in told


def test_required_tls_without_a_certificate_is_a_problem_for_check(tmp_path):
    path = edited(tmp_path, "gateway.yaml", "  # require_tls: true", "  require_tls: true")
    assert any("tls_certificate" in line for line in problems(path))


@pytest.mark.parametrize("word", ["leader", "salesperson", "creator", "customer"])
def test_a_person_cannot_have_a_key_that_means_somebody_else(word, tmp_path):
    path = edited(tmp_path, "people.yaml", "  b:\n", f"  {word}:\n")
    (tmp_path / "rules.yaml").write_text("teams: {}\n", "utf-8")
    shown = (tmp_path / "people.yaml").read_text("utf-8").replace("team: sales", "team: ''")
    (tmp_path / "people.yaml").write_text(shown, "utf-8")
    assert [line.partition(": ")[2].partition(";")[0] for line in problems(path)] == [
        f"{word!r} is no key for a person"
    ]


@pytest.mark.parametrize(
    "scalar",
    ['!!int ""', '!!float ""', "!!bool maybe", "!!timestamp soon", "!!int 0x", "!!null x", "!!binary x", "2026-13-45"],
)
def test_a_value_that_yaml_cannot_make_is_a_problem_and_no_fault(scalar, tmp_path):
    (tmp_path / "x.yaml").write_text(f"key: {scalar}\n", "utf-8")
    try:
        assert isinstance(read(tmp_path / "x.yaml"), Document)
    except Bad as bad:
        (problem,) = bad.problems
        assert (problem.line, problem.column) == (1, 6)


@pytest.mark.parametrize("text", ["[" * 5000, "key: " + "{a: " * 400, "- " * 3000 + "x", "key: &a [*a]"])
def test_what_is_nested_too_deep_is_a_problem_and_no_fault(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text + "\n", "utf-8")
    with pytest.raises(Bad):
        read(tmp_path / "x.yaml")


def test_a_date_is_the_text_it_looks_like(tmp_path):
    (tmp_path / "x.yaml").write_text("key: 2026-12-31\n", "utf-8")
    assert read(tmp_path / "x.yaml").data == {"key": "2026-12-31"}


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Change a file a little, as a slip of the hand or of a disk would."""
    for _ in range(dice.randint(1, 4)):
        lines = content.split(b"\n")
        at = dice.randrange(len(lines))
        spot = dice.randrange(len(content) + 1)
        other = dice.randrange(len(lines))
        match dice.randrange(9):
            case 0:
                content = content[:spot] + bytes([dice.randrange(256)]) + content[spot + 1 :]
            case 1:
                content = content[:spot] + content[spot + dice.randint(1, 30) :]
            case 2:
                content = content[:spot] + dice.choice(TOKENS) + content[spot:]
            case 3:
                del lines[at]
                content = b"\n".join(lines)
            case 4:
                content = b"\n".join([*lines[:at], lines[other], *lines[at:]])
            case 5:
                content = b"\n".join([*lines[:at], b" " * dice.randint(1, 5) + lines[at], *lines[at + 1 :]])
            case 6:
                lines[at], lines[other] = lines[other], lines[at]
                content = b"\n".join(lines)
            case 7:
                content = content[:spot]
            case _:
                key, colon, _value = lines[at].partition(b":")
                lines[at] = key + colon + b" " + dice.choice(TOKENS)
                content = b"\n".join(lines)
    return content


TOKENS = (
    b"", b"~", b"null", b"[]", b"{}", b"[[]]", b"{a: {b: c}}", b"-1", b"1e9", b".nan", b"true", b"''", b"0x10", b"2026-02-30",
    b"&a", b"*a", b"!!int", b"!x", b"|", b">", b"%", b"@", b"`", b"\t", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"- ", b": ", b"? ",
    b"9" * 5000, "鄭".encode(), b"group:", b"group:sales", b"*", b"a@b@c", b"quotation.*", b"amount >", b"[a, a, a]", b"<<: *a",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_raises_nothing_but_bad(name, tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    original = (tmp_path / name).read_bytes()
    bad = 0
    told = []
    for seed in range(MUTATIONS):
        (tmp_path / name).write_bytes(mutated(original, random.Random(f"{name} {seed}")))
        try:
            load(path)
        except Bad as error:
            bad += 1
            told += [(seed, problem) for problem in error.problems]
        except Exception as error:
            error.add_note(f"seed {seed} of {name}")
            raise
    assert bad > MUTATIONS // 4
    assert [(seed, p) for seed, p in told if not (p.file in FILES and p.line > 0 and p.column > 0 and p.what)] == []


@pytest.mark.parametrize("name", ["people.yaml", "rules.yaml"])
def test_a_reload_takes_effect_whole_or_not_at_all(name, tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    original = (tmp_path / name).read_bytes()
    site = load(path)
    applied = 0
    for seed in range(MUTATIONS):
        (tmp_path / name).write_bytes(mutated(original, random.Random(f"reload {name} {seed}")))
        before, people, rules = site.now, site.people, site.rules
        told = site.reload()
        if told:
            assert site.now is before, seed
            assert (site.people, site.rules) == (people, rules), seed
        else:
            fresh = load(path).now
            assert (site.people, site.rules.follow, site.rules.teams) == (
                fresh.people, fresh.rules.follow, fresh.rules.teams,
            ), seed  # fmt: skip
            applied += 1
        assert not site.changed(), seed
    assert applied


def test_a_good_edit_of_one_file_waits_for_the_other_to_be_good(tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    site = load(path)
    people = (tmp_path / "people.yaml").read_text("utf-8")
    (tmp_path / "people.yaml").write_text(people.replace("  chia:", "  lin:"), "utf-8")
    assert site.changed()
    told = [str(problem) for problem in site.reload()]
    assert told
    assert all(line.startswith("rules.yaml:") and "unknown person 'chia'" in line for line in told)
    assert "chia" in site.people.by_key
    rules = (tmp_path / "rules.yaml").read_text("utf-8")
    (tmp_path / "rules.yaml").write_text(rules.replace("chia", "lin"), "utf-8")
    assert site.changed()
    assert site.reload() == ()
    assert "lin" in site.people.by_key
    assert "lin" in site.rules.teams["sales"].members


def test_a_file_taken_away_keeps_the_old_in_force(tmp_path):
    path = lay_out(Path("/nowhere"), tmp_path)
    site = load(path)
    before = site.now
    (tmp_path / "rules.yaml").rename(tmp_path / "rules.old")
    assert site.changed()
    assert [problem.file for problem in site.reload()] == ["rules.yaml"]
    assert site.now is before
