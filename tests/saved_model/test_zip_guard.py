"""Archives that no honest tool writes, and damaged ones."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from coppice.errors import EmptyFile, HostileFile, TruncatedFile, UnknownFormat
from coppice.formats import zip_guard
from coppice.formats.zip_guard import open_zip

MIB = 1024 * 1024


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def special(path: Path, kind: int, content: bytes) -> Path:
    info = zipfile.ZipInfo("model/saved_model.pb")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(info, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(HostileFile) as caught, open_zip(path):
        pass
    return caught.value.message


@pytest.mark.parametrize(
    "name",
    ["../evil", "model/../../evil", "/etc/passwd", "C:/evil", "C:evil", "model\\..\\evil", "\\evil", "a\nb", ".."],
)
def test_a_path_that_leads_anywhere_else_is_hostile(tmp_path: Path, name: str) -> None:
    assert repr(name)[1:-1] in refused(archive(tmp_path / "a.zip", {name: b"x"}))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_device_is_hostile(tmp_path: Path, kind: int) -> None:
    assert "link or a device" in refused(special(tmp_path / "a.zip", kind, b"/etc/passwd"))


def test_a_bomb_that_declares_its_size_is_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"saved_model.pb": b"\0" * MIB})
    size = struct.pack("<L", MIB)
    # 4 GiB - 1 is the most that the classic field can say; three such members make 12 GiB.
    inflated = path.read_bytes().replace(size, struct.pack("<L", 0xFFFFFFFE))
    path.write_bytes(inflated)
    with zipfile.ZipFile(path) as made:
        infos = made.infolist() * 3
    with pytest.raises(HostileFile, match="12,884,901,882 bytes when unpacked"):
        zip_guard._examined("a.zip", infos)


def test_a_bomb_that_hides_its_size_costs_no_more_than_it_declared(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"saved_model.pb": b"\0" * (32 * MIB)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 32 * MIB), struct.pack("<L", 1000)))
    tracemalloc.start()
    with open_zip(path) as opened, pytest.raises(TruncatedFile, match="damaged"):
        opened.read("saved_model.pb")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MIB


def test_too_many_members_are_hostile(tmp_path: Path) -> None:
    members = {f"{number}": b"" for number in range(zip_guard.MAX_MEMBERS + 1)}
    assert "10,001 members" in refused(archive(tmp_path / "a.zip", members))


def test_two_members_of_one_name_are_hostile(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("saved_model.pb", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("saved_model.pb", b"second")
    assert "two members" in refused(tmp_path / "a.zip")


def test_a_method_that_is_not_deflate_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("saved_model.pb", b"x" * 1000)
    assert "only deflate" in refused(tmp_path / "a.zip")


def test_a_zip_that_was_cut_is_called_truncated(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"saved_model.pb": bytes(range(256)) * 100})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TruncatedFile), open_zip(path):
        pass


def test_a_member_with_flipped_bytes_is_called_truncated(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("saved_model.pb", b"a" * 1000)
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"aaaa", b"aaab", 1))
    with open_zip(tmp_path / "a.zip") as opened, pytest.raises(TruncatedFile, match="is damaged"):
        opened.read("saved_model.pb")


def test_an_empty_file_and_another_format_have_their_own_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "other.zip").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(EmptyFile), open_zip(tmp_path / "empty.zip"):
        pass
    with pytest.raises(UnknownFormat, match="89484446"), open_zip(tmp_path / "other.zip"):
        pass


def test_the_clutter_of_a_desktop_is_no_part_of_the_archive(tmp_path: Path) -> None:
    members = {"m/saved_model.pb": b"x", "__MACOSX/m/._saved_model.pb": b"y", "m/.DS_Store": b"z"}
    with open_zip(archive(tmp_path / "a.zip", members)) as opened:
        assert opened.names == ("m/saved_model.pb",)


def test_the_folder_of_a_member_is_found_at_any_depth_and_only_when_it_is_alone(tmp_path: Path) -> None:
    for members, folder in (({"saved_model.pb": b""}, ""), ({"a/b/saved_model.pb": b"", "a/x": b""}, "a/b/")):
        with open_zip(archive(tmp_path / "a.zip", members)) as opened:
            assert opened.folder_of("saved_model.pb") == folder
    for members in ({"a/x": b""}, {"a/saved_model.pb": b"", "b/saved_model.pb": b""}):
        with open_zip(archive(tmp_path / "a.zip", members)) as opened, pytest.raises(UnknownFormat, match="one saved"):
            opened.folder_of("saved_model.pb")


def test_a_rewritten_archive_differs_only_where_it_was_told_to(tmp_path: Path) -> None:
    original = archive(tmp_path / "a.zip", {"m/a": b"1", "m/b": b"2" * 500, "m/c": b"3"})
    with open_zip(original) as opened:
        opened.rewrite(tmp_path / "b.zip", replaced={"m/b": b"new"}, dropped={"m/c"})
        with pytest.raises(KeyError):
            opened.rewrite(tmp_path / "c.zip", replaced={"m/d": b""})
    with zipfile.ZipFile(io.BytesIO((tmp_path / "b.zip").read_bytes())) as copy:
        assert {name: copy.read(name) for name in copy.namelist()} == {"m/a": b"1", "m/b": b"new"}
        assert copy.getinfo("m/b").compress_type == zipfile.ZIP_DEFLATED
