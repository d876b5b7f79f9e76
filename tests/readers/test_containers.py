"""Files, standard input, directories, archives: what is read, and what is refused with one line."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import tarfile
import time
import zipfile
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest

from hangdiag.containers import Limits
from hangdiag.errors import InputError
from hangdiag.readers import files, stream
from hangdiag.readers.files import read_paths

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TRACE = b"Tracing pid 2210 tid 100860 td 0xfffff80004c98000\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5f0\n"


def tar_of(members):
    """A tar archive: names with bytes, or ready-made TarInfo."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            if isinstance(name, str):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            else:
                archive.addfile(name)
    return stream.getvalue()


def write(folder, data, name="x"):
    path = folder / name
    path.write_bytes(data)
    return str(path)


def refused(*paths, stdin=None, limits=None):
    with pytest.raises(InputError) as caught:
        read_paths(paths, stdin, limits)
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message, message
    return message


def test_a_file(tmp_path):
    path = write(tmp_path, TRACE)
    (capture,) = read_paths([path], None)
    (source,) = capture.sources
    assert (source.path, source.format, source.lines, source.replaced, source.container) == (path, "ddb", 2, 0, None)
    assert source.sha256 == hashlib.sha256(TRACE).hexdigest()


def test_standard_input():
    (capture,) = read_paths(["-"], io.BytesIO(TRACE))
    assert [thread.tid for thread in capture.threads] == [100860]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed(tmp_path, pack):
    (capture,) = read_paths([write(tmp_path, pack(TRACE))], None)
    assert [thread.tid for thread in capture.threads] == [100860]
    assert capture.sources[0].sha256 == hashlib.sha256(TRACE).hexdigest()


def test_a_textdump():
    path = str(SAMPLES / "deadlock.textdump.tar")
    (capture,) = read_paths([path], None)
    assert [source.path for source in capture.sources] == ["ddb.txt", "version.txt", "msgbuf.txt"]
    assert {source.container for source in capture.sources} == {path}
    assert len(capture.threads) == 50
    assert capture.host.release == "12.1-STABLE"
    packed = gzip.compress(Path(path).read_bytes())
    assert read_paths(["-"], io.BytesIO(packed))[0].threads == capture.threads


def test_sections_of_one_host_in_several_files_are_one_capture(tmp_path):
    ps = write(
        tmp_path,
        b"  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
        b" 2210     1  2210     0  D       (threaded)                  bhyve\n"
        b"100860                   D       vmrndv  0xfffffe0000723110  vcpu 0\n",
        "ps.txt",
    )
    trace = write(tmp_path, TRACE, "trace.txt")
    (capture,) = read_paths([ps, trace], None)
    (thread,) = capture.threads
    assert (thread.name, thread.wmesg, len(thread.frames)) == ("vcpu 0", "vmrndv", 1)
    assert [where.source for where in thread.where] == [0, 1]
    assert read_paths([str(tmp_path)], None)[0].threads == capture.threads


def test_another_host_in_another_file_is_another_capture(tmp_path):
    other = TRACE.replace(b"pid 2210", b"pid 999").replace(b"_sleep", b"_cv_wait")
    captures = read_paths([write(tmp_path, TRACE, "a"), write(tmp_path, other, "b")], None)
    assert [capture.threads[0].pid for capture in captures] == [2210, 999]


def test_encodings(tmp_path):
    text = TRACE.decode()
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        (capture,) = read_paths([write(tmp_path, text.encode(encoding))], None)
        assert [thread.tid for thread in capture.threads] == [100860]
    table = b"  PID    TID COMM                TDNAME              KSTACK\n 2210 100860 bhyve               mevent              mi_switch+0xd2 _sleep+0x1\n"
    (capture,) = read_paths([write(tmp_path, table.replace(b"  ", b"\xa0 "))], None)
    assert [(thread.tid, thread.name) for thread in capture.threads] == [(100860, "mevent")]
    (capture,) = read_paths([write(tmp_path, b"h\xe4ngt\n\xff\xff\n" + TRACE)], None)
    assert capture.sources[0].replaced == 3
    assert capture.threads[0].where[0].first == 3


def test_refusals(tmp_path):
    assert "no such file" in refused(str(tmp_path / "missing"))
    assert "an empty file" in refused(write(tmp_path, b""))
    assert "an empty file" in refused("-", stdin=io.BytesIO(b""))
    assert "nothing but blanks" in refused(write(tmp_path, b" \n\n\t\n"))
    assert "no thread recognised in 2 lines" in refused(write(tmp_path, b"it hangs\nplease help\n"))
    assert "ELF" in refused(write(tmp_path, b"\x7fELF\x02\x01\x01" + bytes(500)))
    assert "core dump" in refused(write(tmp_path, b"minidump FreeBSD/amd64" + bytes(500)))
    assert "a binary file" in refused(write(tmp_path, bytes(range(256)) * 40))
    assert "no standard input" in refused("-")
    assert "file name" in refused("a\0b")
    (tmp_path / "empty").mkdir()
    assert "an empty directory" in refused(str(tmp_path / "empty"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write(tmp_path, TRACE)
    os.chmod(path, 0)
    assert "no permission" in refused(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\b"])
def test_members_outside_the_archive(tmp_path, name):
    message = refused(write(tmp_path, tar_of([("ddb.txt", TRACE), (name, b"x")])))
    assert "lies outside the archive" in message
    assert repr(name) in message


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "is a link"), (tarfile.LNKTYPE, "is a link"), (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "pipe")],
)
def test_links_and_devices(tmp_path, kind, word):
    member = tarfile.TarInfo("vmcore.last")
    member.type = kind
    member.linkname = "/etc/master.passwd"
    assert word in refused(write(tmp_path, tar_of([("ddb.txt", TRACE), (member, b"")])))


def test_bombs(tmp_path):
    small = Limits(unpacked_bytes=1 << 20)
    bomb = gzip.compress(b"x\n" * (2 << 20))
    assert "unpacks to more than 1 MiB" in refused(write(tmp_path, bomb), limits=small)
    twice = gzip.compress(gzip.compress(TRACE + b"x\n" * (1 << 20)))
    assert "unpacks to more than 1 MiB" in refused(write(tmp_path, twice), limits=small)
    archive = tar_of([("a", TRACE), ("b", b"\n" * (2 << 20))])
    assert "more than 1 MiB" in refused(write(tmp_path, gzip.compress(archive)), limits=small)
    assert "more than 1 MiB" in refused(write(tmp_path, lzma.compress(b"x\n" * (2 << 20))), limits=small)
    nested = TRACE
    for _ in range(6):
        nested = gzip.compress(nested)
    assert "archives in each other" in refused(write(tmp_path, nested))
    many = tar_of([(f"m{number}", b"") for number in range(30)])
    assert "more than 20 members" in refused(write(tmp_path, many), limits=Limits(members=20))
    assert "more than 50 bytes" in refused(write(tmp_path, TRACE), limits=Limits(file_bytes=50))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, partial(lzma.compress, preset=0)])
def test_compressed_data_that_are_cut_short_give_what_there_is(tmp_path, pack):
    noise = random.Random(1)
    more = "".join(f"{noise.getrandbits(2000):x}\n" for _ in range(2_000)).encode()
    packed = pack(TRACE + more)
    (capture,) = read_paths([write(tmp_path, packed[: len(packed) * 9 // 10])], None)
    assert [thread.tid for thread in capture.threads] == [100860]
    read, lost = capture.sources
    assert read.lines > 1000
    assert (lost.path, lost.lines) == (read.path, 0)
    assert "damaged compressed data" in capture.unread[-1].why
    assert capture.unread[-1].where.source == 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_byte_in_compressed_data(pack):
    packed = bytearray(pack(b"nothing\n" * 500))
    packed[len(packed) // 2] ^= 0xFF
    assert "damaged" in refused("-", stdin=io.BytesIO(bytes(packed)))


def test_damaged_archives_give_what_is_whole(tmp_path):
    archive = tar_of([("ddb.txt", TRACE), ("other.txt", b"x" * 5000)])
    (capture,) = read_paths([write(tmp_path, archive[:2048])], None)
    assert [thread.tid for thread in capture.threads] == [100860]
    assert [item.why for item in capture.unread if item.where.source == 2] == ["damaged tar archive (cut short)"]


def test_what_a_damaged_archive_holds_behind_its_damage_is_not_passed_over(tmp_path):
    archive = bytearray(tar_of([("ddb.txt", TRACE), ("other.txt", TRACE), ("third.txt", TRACE)]))
    archive[1024 + 10] ^= 1  # the second header's sum is wrong now
    (capture,) = read_paths([write(tmp_path, bytes(archive))], None)
    assert [source.path for source in capture.sources] == ["ddb.txt", str(tmp_path / "x")]
    assert "damaged tar archive" in capture.unread[0].why


def test_a_file_of_holes_does_not_fill_the_memory(tmp_path):
    stored = b"it hangs\n" * 8192  # 144 blocks
    member = tarfile.TarInfo("ddb.txt")
    member.size = len(stored)
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[156:157] = tarfile.GNUTYPE_SPARSE
    head[386:410] = b"%011o\0%011o\0" % (0, len(stored))
    head[483:495] = b"%011o\0" % (4 << 30)  # what the file holds, its hole included
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path = write(tmp_path, bytes(head) + stored + bytes(1024))
    assert "unpacks to more than 1 MiB" in refused(path, limits=Limits(unpacked_bytes=1 << 20))


def test_a_header_that_is_slow_to_search(tmp_path):
    member = tarfile.TarInfo("x")
    member.type = tarfile.XHDTYPE
    member.size = 400_000
    archive = member.tobuf() + b"9" * 400_384 + tar_of([("ddb.txt", TRACE)])
    begin = time.process_time()
    assert "a header of 400000 bytes" in refused(write(tmp_path, archive))
    assert time.process_time() - begin < 2


def zip_of(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def test_a_zip_archive(tmp_path):
    inner = gzip.compress(tar_of([("ddb.txt", TRACE)]))
    path = write(tmp_path, zip_of([("logs/", b""), ("logs/notes.txt", b"it hangs\n"), ("logs/dump.tar.gz", inner)]))
    (capture,) = read_paths([path], None)
    assert [(source.path, source.container) for source in capture.sources] == [
        ("logs/notes.txt", path), ("ddb.txt", "logs/dump.tar.gz"),
    ]  # fmt: skip
    assert capture.threads[0].where[0].source == 1


def test_refused_zip_archives(tmp_path):
    assert "lies outside the archive" in refused(write(tmp_path, zip_of([("../x", b"x")])))
    assert "lies outside the archive" in refused(write(tmp_path, zip_of([("C:\\x", b"x")])))
    link = zipfile.ZipInfo("vmcore.last")
    link.external_attr = 0o120777 << 16
    assert "is a link" in refused(write(tmp_path, zip_of([(link, b"/etc/passwd")])))
    small = Limits(unpacked_bytes=1 << 20, members=9)
    assert "unpacks to more than 1 MiB" in refused(write(tmp_path, zip_of([("x", b"\n" * (2 << 20))])), limits=small)
    assert "more than 9 members" in refused(write(tmp_path, zip_of([(str(n), b"") for n in range(10)])), limits=small)
    assert "damaged zip archive" in refused(write(tmp_path, zip_of([("x", TRACE)])[:100]))


def test_members_that_cannot_be_opened_are_named(tmp_path):
    packed = bytearray(zip_of([("secret.txt", TRACE), ("ddb.txt", TRACE)]))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1  # encrypted
    (capture,) = read_paths([write(tmp_path, bytes(packed))], None)
    assert [item.why for item in capture.unread] == ["encrypted; unpack it with its password"]
    assert len(capture.threads) == 1
    wrong = tar_of([("ddb.txt", TRACE), ("core.gz", gzip.compress(TRACE * 5000)[:100])])
    (capture,) = read_paths([write(tmp_path, wrong)], None)
    assert len(capture.threads) == 1
    assert "damaged compressed data" in capture.unread[-1].why


def test_links_in_a_directory_are_named_not_followed(tmp_path):
    write(tmp_path, TRACE, "core.txt.0")
    (tmp_path / "core.txt.last").symlink_to("core.txt.0")
    os.mkfifo(tmp_path / "pipe")
    (capture,) = read_paths([str(tmp_path)], None)
    assert [item.why for item in capture.unread] == ["a link, not followed", "a device, a pipe or a socket"]
    assert len(capture.threads[0].where) == 1


def mail_of(*attachments, text="It hangs, see below.\n", html=True):
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "a@example.org", "bhyve hangs"
    mail.set_content(text)
    if html:
        mail.add_alternative(f"<html><pre>{text}</pre></html>", subtype="html")
    for name, data in attachments:
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


def test_a_saved_mail_with_attachments(tmp_path):
    path = write(tmp_path, mail_of(("ddb.txt", TRACE), ("core.tar.gz", gzip.compress(tar_of([("ps.txt", b"nothing\n")])))))
    (capture,) = read_paths([path], None)
    assert [source.path for source in capture.sources] == [
        "headers", "part 1 (text/plain)", "part 2 (text/html)", "ddb.txt", "ps.txt",
    ]  # fmt: skip
    assert [thread.tid for thread in capture.threads] == [100860]
    assert [item.why for item in capture.unread if item.where.source == 2] == ["the text of another part in another form"]


def test_the_same_trace_as_text_and_as_html_is_one(tmp_path):
    (capture,) = read_paths([write(tmp_path, mail_of(text=TRACE.decode()))], None)
    assert [len(thread.where) for thread in capture.threads] == [1]


def test_a_large_attachment(tmp_path):
    path = write(tmp_path, mail_of(("dmesg.txt", b"a line of the boot\n" * 9000), ("ddb.txt", TRACE)))
    (capture,) = read_paths([path], None)
    assert [thread.tid for thread in capture.threads] == [100860]


def test_a_mailbox(tmp_path):
    first = mail_of(("ddb.txt", TRACE), html=False)
    second = b"From: b@example.org\nSubject: Re: bhyve hangs\n\n" + TRACE.replace(b"100860", b"100861")
    line = b"From a@example.org Sun Nov 23 04:42:01 2025\n"
    (capture,) = read_paths([write(tmp_path, line + first + b"\n" + line + second)], None)
    assert sorted(thread.tid for thread in capture.threads) == [100860, 100861]
    assert capture.sources[-1].path == "mail 2, text"


def test_a_mail_that_is_one_text_keeps_its_line_numbers(tmp_path):
    (capture,) = read_paths([write(tmp_path, b"From: a\nSubject: b\n\n" + TRACE)], None)
    assert capture.threads[0].where == ((0, 4, 5),)


def test_parts_in_parts_without_end(tmp_path):
    head = b"From: a\nSubject: b\n"
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    (capture,) = read_paths([write(tmp_path, head + nested + b"\n" + TRACE)], None)
    assert len(capture.threads) == 1


def test_a_large_member_is_read_as_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 100_000)
    log = b"Nov 23 04:42:01 host kernel: em0: link state is UP\n" * 20_000 + TRACE
    (capture,) = read_paths([write(tmp_path, gzip.compress(tar_of([("log", log), ("notes", b"it hangs\n")])))], None)
    assert [source.lines for source in capture.sources] == [20_002, 1]
    assert capture.threads[0].where[0].first == 20_001


def test_binary_members_are_named_not_read(tmp_path):
    archive = tar_of([("ddb.txt", TRACE), ("vmcore.0", b"minidump FreeBSD/amd64" + bytes(100)), ("empty.txt", b"")])
    (capture,) = read_paths([write(tmp_path, archive)], None)
    assert [(source.path, source.lines) for source in capture.sources] == [("ddb.txt", 2), ("vmcore.0", 0), ("empty.txt", 0)]
    assert [(item.where.source, item.why) for item in capture.unread] == [(1, "a kernel core dump")]


def test_large_files_are_read_as_streams(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 100_000)
    line = b"Nov 23 04:42:01 host kernel: em0: link state is UP\n"
    prose = line * 20_000
    other = TRACE.replace(b"100860", b"100861")
    path = write(tmp_path, prose + TRACE + prose + other + prose + b"the end, without a line end")
    (capture,) = read_paths([path], None)
    assert [thread.tid for thread in capture.threads] == [100860, 100861]
    assert [thread.where[0] for thread in capture.threads] == [(0, 20_001, 20_002), (0, 40_003, 40_004)]
    assert [(item.where.first, item.where.last, item.why) for item in capture.unread] == [
        (1, 20_000, "prose"), (20_003, 40_002, "prose"), (40_005, 60_005, "prose"),
    ]  # fmt: skip
    assert capture.sources[0].lines == 60_005
    assert capture.sources[0].sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_one_line_of_ten_megabytes(tmp_path):
    (capture,) = read_paths([write(tmp_path, b"mi_switch+0x1 " * 700_000 + b"\n" + TRACE)], None)
    assert 100860 in {thread.tid for thread in capture.threads}


def test_large_files_with_the_line_ends_of_an_old_macintosh(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 100_000)
    text = b"nothing to see\r" * 20_000 + TRACE.replace(b"\n", b"\r")
    (capture,) = read_paths([write(tmp_path, text)], None)
    assert capture.threads[0].where == ((0, 20_001, 20_002),)
    assert capture.sources[0].lines == 20_002


def test_unread_lines_of_a_large_file_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 100_000)
    monkeypatch.setattr(stream, "MOST_UNREAD", 100)
    text = b"a fault at address+0x10 of word\nnothing to see\n" * 3_000 + TRACE
    (capture,) = read_paths([write(tmp_path, text)], None)
    assert [(item.where.first, item.where.last, item.trace_like) for item in capture.unread] == [(1, 6_000, True)]
