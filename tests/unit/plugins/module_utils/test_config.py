# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's configuration is: the start rehearsed by the early hook's own functions, and rc.conf written."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rcconf, rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import Outcome, rehearse
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.tests.unit.agent import HOOK

NAME = 'hostname="web-1"\n'
WORLD = os.path.join(HOOK, "../../../../../../tests/lab/world/etc")

#: forms of rc.conf that people have
FORMS = r"""# $Site$
hostname=web-1.example.org   # no quotation marks
ifconfig_em0='inet 192.0.2.2/24'<tab>;<tab>ifconfig_em0_ipv6="inet6 accept_rtadv"
growfs_enable=YES
cloned_interfaces="lo1 bridge0 \
<tab>tap0"
jail_list="${jail_list} www"
local_startup="${local_startup} /opt/etc/rc.d"
: ${my_default:="x y"}
if [ -r /etc/nothing.conf ]; then . /etc/nothing.conf; fi
set -- a b c
motto='it'"'"'s fine $HOME `date`'
umlaut="Grün" # für alle, mit~geschütztem~Blank
between="a~b"
sshd_flags="-o 'Banner none'"
mistyped_enable = YES
last_line="no line end"
""".replace("<tab>", "\t").replace("~", "\u00a0")


def run(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, check=False, env=environment, timeout=60)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


class Host:
    """The trees of a host, and the next start."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.places = Places(str(top / "etc"), str(top / "base"), str(top / "cfg"), HOOK)
        self.base, self.cfg = top / "base", top / "cfg"
        for name in ("etc", "base", "cfg"):
            (top / name).mkdir()
        self.put(self.base, {"rc.conf": 'hostname="image"\n', "rc.subr": "true\n", rules.LAST: rules.last_words()})
        with open(os.path.join(WORLD, "defaults/rc.conf"), encoding="utf-8") as file:
            self.put(self.base, {"defaults/rc.conf": file.read()})
        self.put(self.cfg, {"rc.conf": NAME})

    @staticmethod
    def put(tree: Path, texts: Dict[str, Any]) -> None:
        for name, text in texts.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def start(self, **cfg: Any) -> Outcome:
        """The next start, with further files in /cfg."""
        self.put(self.cfg, cfg)
        return rehearse(Runner(run), self.places, {})

    def starts(self, texts: Dict[str, Any]) -> Outcome:
        return self.start(**texts)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


class TestRcConf:
    def test_forms_that_people_have(self, host: Host) -> None:
        assert host.starts({"rc.conf": FORMS}) == Outcome("", [])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "the configuration has no rc.conf"),
            ('hostname="web-1\n', "/cfg/rc.conf is broken: /etc/rc.conf: "),
            (NAME + "exit 0\n", "it ends the shell"),
            (NAME + ". /etc/nowhere.conf\n", "it ends the shell"),
            (NAME + ": ${nothing?}\n", "it ends the shell"),
            (NAME + "x=$((1m))\n", "it ends the shell"),
            (NAME + "readonly root_rw_mount=YES\n", "it ends the shell"),
            (NAME + "set -e\n", "an option of the shell"),
            (NAME + "set -u\n", "an option of the shell"),
            (NAME + "set -f\n", "an option of the shell"),
            (NAME + "set -o noclobber\n", "an option of the shell"),
            (NAME + "set -n\n", "it ends the shell"),
            (NAME + "IFS=,\n", "it sets IFS"),
            ('hostname="web-1"\r\nsshd_enable="YES"\r\n', "its lines end with CR"),
            ('hostname="web-1"\rsshd_enable="YES"\r', "its lines end with CR"),
            ("# only this\r\n\r\n" + NAME, "it has characters"),
            ("\ufeff" + NAME, "it has characters"),
            (NAME + '\u00a0sshd_enable="YES"\n', "it has characters"),
            (NAME + 'sshd_enable=\u00a0"YES"\n', "a no-break space"),
            (NAME + 'sshd_enable="YES"\u00a0\n', "a no-break space"),
            (NAME + "sshd_enable=\u201cYES\u201d\u00a0\n", "a no-break space"),
        ],
    )
    def test_what_the_host_could_not_be_itself_with(self, host: Host, text: str, said: str) -> None:
        assert said in host.starts({"rc.conf": text}).broken

    def test_it_does_not_end(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = host.top / "hook"
        hook.mkdir()
        for name in ("early.subr", "cfg.subr"):
            text = Path(HOOK, name).read_text()
            (hook / name).write_text(text.replace("within 20 env", "within 1 env"))
        places = Places(host.places.etc, host.places.base, host.places.cfg, str(hook))
        host.put(host.cfg, {"rc.conf": NAME + "sleep 50\n"})
        assert rehearse(Runner(run), places, {}).broken == "/cfg/rc.conf is broken: it does not end"

    def test_a_broken_file_of_the_image_is_none_of_cfg(self, host: Host) -> None:
        host.put(host.base, {"rc.conf.d/x": "exit\n", "rc.conf.d/y": "y=1\n"})
        assert host.starts({"rc.conf.d/y": "exit\n"}) == Outcome(
            "", [("rc.conf.d/y", "it is broken: it ends the shell")]
        )

    def test_no_watchdog_is_patted(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a host that runs, nobody would quieten it again."""
        for name in ("kenv", "watchdog"):
            (host.top / name).write_text("#!/bin/sh\necho >> {0}/{1}.ran; echo 1\n".format(host.top, name))
            (host.top / name).chmod(0o755)
        monkeypatch.setenv("PATH", "{0}:{1}".format(host.top, os.environ["PATH"]))
        assert host.start() == Outcome("", [])
        assert not (host.top / "watchdog.ran").exists() and not (host.top / "kenv.ran").exists()

    def test_none(self, host: Host) -> None:
        (host.cfg / "rc.conf").unlink()
        assert host.start().broken == "the configuration has no rc.conf"

    @pytest.mark.parametrize("target", ["rc.conf.web", "rc.conf", "nowhere", "/dev/null", "."])
    def test_a_link(self, host: Host, target: str) -> None:
        (host.cfg / "rc.conf").unlink()
        (host.cfg / "rc.conf").symlink_to(target)
        assert bool(host.starts({"rc.conf.web": NAME} if target == "rc.conf.web" else {}).broken) == (
            target != "rc.conf.web"
        )
        assert host.starts({"rc.conf.web": "if then\n"}).broken

    def test_a_folder(self, host: Host) -> None:
        (host.cfg / "rc.conf").unlink()
        (host.cfg / "rc.conf").mkdir()
        assert host.start().broken

    @pytest.mark.parametrize("name", ["rc.conf.local", "rc.conf.d/sshd", "rc.conf.d/jail/web", "local/rc.conf.d/nginx"])
    @pytest.mark.parametrize(
        "text", ["if then\n", "exit\n", 'x_enable="YES"\r\n', "set -u\n", "\ufeffx=1\n"], ids=lambda text: text[:4]
    )
    def test_files_beside_it_are_left_out(self, host: Host, name: str, text: str) -> None:
        found = host.starts({name: text})
        assert found.broken == "" and [path for path, _why in found.left] == [name], found

    @pytest.mark.parametrize("name", ["rc.conf.local", "rc.conf.d/sshd"])
    def test_fifos_and_links_beside_it(self, host: Host, name: str) -> None:
        (host.cfg / name).parent.mkdir(exist_ok=True)
        os.mkfifo(host.cfg / name)
        assert host.start() == Outcome("", [(name, "it is neither a file nor a folder nor a link")])
        (host.cfg / name).unlink()
        for target in ("nowhere", "/dev/zero", name.rpartition("/")[2]):
            (host.cfg / name).symlink_to(target)
            found = host.start()
            assert found.broken == "" and [path for path, _why in found.left] == [name], (target, found)
            (host.cfg / name).unlink()

    def test_further_files_that_it_names(self, host: Host) -> None:
        text = NAME + 'rc_conf_files="$rc_conf_files /etc/rc.conf.site /usr/local/etc/rc.conf /etc/none"\n'
        found = host.starts({"rc.conf": text, "rc.conf.site": "if then\n", "local/rc.conf": "exit\n"})
        assert found.broken == "" and [path for path, _why in found.left] == ["rc.conf.site", "local/rc.conf"]

    def test_it_may_use_what_the_defaults_and_rc_conf_say(self, host: Host) -> None:
        texts = {"rc.conf": NAME + ": ${varsize?}\nsite=a\n", "rc.conf.d/sshd": ": ${site?}\n"}
        assert host.starts(texts) == Outcome("", [])

    @pytest.mark.parametrize("name", sorted(rules.PINNED))
    def test_what_the_layout_needs(self, host: Host, name: str) -> None:
        """In rc.conf it says nothing; for a script of rc.d, rc.conf.d would have the last word."""
        assert host.starts({"rc.conf": NAME + name + '="other"\n'}) == Outcome("", [])
        found = host.starts({"rc.conf.d/x": name + '="other"\n'})
        assert found == Outcome("", [("rc.conf.d/x", "it sets what the layout needs otherwise: " + name + "=other")])


class TestFiles:
    def test_of_another_kind(self, host: Host) -> None:
        readonly = host.top / "readonly"
        readonly.write_text("of the image\n")
        for name, target in (("localtime", readonly), ("unbound", "../var/unbound"), ("aliases", "mail/aliases")):
            (host.base / name).symlink_to(target)
        host.put(host.base, {"pki/x": "", "snmp/x": "", "motd": "", "mail/aliases": "base\n"})
        (host.cfg / "pki").symlink_to("/usr/local/share/pki")
        texts = {"localtime": "TZif", "unbound/unbound.conf": "x", "aliases": "x", "snmp": "x", "motd/x": "x"}
        assert host.starts(texts) == Outcome("", [])
        assert readonly.read_text() == "of the image\n", "it was written through the link"

    def test_names(self, host: Host) -> None:
        names = [b"a\nb", b" blank ", b"-rf", b"gr\xfc\xdfe", b"*", b"..x", b".hidden", b"x\ty"]
        for name in names:
            folder = os.path.join(os.fsencode(str(host.cfg)), name + b".d")
            os.mkdir(folder)
            with open(os.path.join(folder, name), "wb"):
                pass
        assert host.start() == Outcome("", [])
        os.mkfifo(os.path.join(os.fsencode(str(host.cfg)), b"p\ni\xffpe"))
        assert host.start().left == [("p?i?pe", "it is neither a file nor a folder nor a link")]

    def test_what_only_the_image_has(self, host: Host) -> None:
        names = [each.replace("*", "x") for each in rules.IMAGE_ONLY if each != "mtree"] + ["rc.d/netif"]
        host.put(host.base, {"rc.d/netif": ""})
        left = host.starts({**dict.fromkeys(names, "if then\n"), "rc.d/site": "", "defaults/devfs.rules": ""}).left
        expected = {("mtree" if name == "mtree/x" else name, "only the image has it") for name in names}
        assert set(left) == expected

    def test_the_hook_and_python_have_the_same_list(self) -> None:
        text = Path(HOOK, "cfg.subr").read_text()
        listed = re.split(r"[\s|\\]+", text.partition("case $1 in")[2].partition(")")[0].strip())
        assert listed == list(rules.IMAGE_ONLY)

    @pytest.mark.parametrize("name", ["rc.d", "defaults", "zfs", "nanozfs.tmp", "mtree"])
    def test_links_in_place_of_folders_that_matter(self, host: Host, name: str) -> None:
        (host.cfg / name).symlink_to("/nonexistent")
        assert [path for path, _why in host.start().left] == [name]

    def test_users(self, host: Host) -> None:
        host.put(host.cfg, {"spwd.db": "x", "pwd.db": "", "passwd": "x", "group": ""})
        assert [path for path, _why in host.start().left] == ["group", "passwd", "pwd.db", "spwd.db"]
        host.put(host.cfg, {"master.passwd": "root:*:0:0::0:0::/root:/bin/sh\n", "group": "wheel:*:0:root\n"})
        assert [path for path, _why in host.start().left] == ["pwd.db"]

    def test_with_changes_that_are_not_made_yet(self, host: Host) -> None:
        new = host.top / "new"
        new.write_text("exit\n")
        assert rehearse(Runner(run), host.places, {"rc.conf": str(new)}).broken
        assert rehearse(Runner(run), host.places, {"rc.conf.d/a/b": str(new)}).left
        assert rehearse(Runner(run), host.places, {"rc.conf": None}).broken
        assert host.start() == Outcome("", []) and sorted(os.listdir(host.cfg)) == ["rc.conf"]


class TestWriting:
    @pytest.mark.parametrize(
        "value", ["plain", "", "it's", 'a "b" c', "$HOME `date` $(id)", "a\\b\\", "Grün", "  x\t", "#x", "a;b&c|d"]
    )
    def test_sh_reads_back_what_was_written(self, tmp_path: Path, value: str) -> None:
        (tmp_path / "rc.conf").write_text(rcconf.render({"x": value}, (), "x"))
        rc, out, _err = run(["env", "-i", "sh", "-c", '. "$0"; printf %s "$x"', str(tmp_path / "rc.conf")])
        assert (rc, out) == (0, value)

    def test_other_values(self) -> None:
        text = rcconf.render({"a": True, "b": False, "c": 7, "d": ["lo1", "tap0", True], "e": []}, (), "x")
        assert text == 'a="YES"\nb="NO"\nc="7"\nd="lo1 tap0 YES"\ne=""\n'

    @pytest.mark.parametrize(
        "values",
        [{"a": "x\ny"}, {"a": "x\r"}, {"a": None}, {"a": {}}, {"a": [["x"]]}, {"a": "\ud800"}, {"a": "x\u00a0"}]
        + [{name: "x"} for name in ("a-b", "1a", "", "a b", "IFS", "PATH", "ours", "a\n", "ä", 1)],
    )
    def test_refusals(self, values: Any) -> None:
        with pytest.raises(Refused):
            rcconf.render(values, ("ours",), "x")


@pytest.mark.parametrize("again", [False, True])
def test_what_the_layout_needs_has_the_last_word(tmp_path: Path, again: bool) -> None:
    """As /etc/rc reads it all; also where rc.conf adds to the list of files, and where it is read a second time."""
    etc = str(tmp_path)
    (tmp_path / "defaults").mkdir()
    hostile = "".join('{0}="other"\n'.format(name) for name in rules.PINNED)
    texts = {
        "defaults/rc.conf": Path(WORLD, "defaults/rc.conf").read_text(),
        "defaults/vendor.conf": rcconf.render({"rc_conf_files": rules.CONF_FILES}, (), "x"),
        rules.LAST: rules.last_words(),
        "rc.conf": 'rc_conf_files="/etc/rc.conf $rc_conf_files /etc/rc.conf.site"\n' + hostile,
        "rc.conf.local": 'rc_conf_files="/etc/rc.conf /etc/rc.conf.site"\n' + hostile,
        "rc.conf.site": hostile + "site=read\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace("/etc/", etc + "/"))
    load = '. "$0/defaults/rc.conf"; source_rc_confs; '
    shown = "".join('echo "{0}=${0}"; '.format(name) for name in rules.PINNED)
    rc, out, err = run(["env", "-i", "sh", "-c", load * (2 if again else 1) + shown + "echo $site", etc])
    assert (rc, err) == (0, "")
    assert out == "".join("{0}={1}\n".format(*item) for item in rules.PINNED.items()) + "read\n"
