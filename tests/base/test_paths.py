"""What paths lead to."""

from pathlib import Path

from bimetal.base.paths import same_file


def test_paths_of_one_file(tmp_path: Path) -> None:
    file, link, hard, other = (tmp_path / name for name in ("file", "link", "hard", "other"))
    file.touch()
    other.touch()
    link.symlink_to(file)
    hard.hardlink_to(file)
    for path in (link, hard, tmp_path / "." / "file", f"{tmp_path}/../{tmp_path.name}/file"):
        assert same_file(str(file), str(path))
    assert not same_file(str(file), str(other))


def test_what_is_not_there_is_the_same_by_its_name() -> None:
    assert same_file("nbd://host/disk", "nbd://host/disk")
    assert not same_file("/nowhere/a", "/nowhere/b")
    assert not same_file("a\0", "b")
