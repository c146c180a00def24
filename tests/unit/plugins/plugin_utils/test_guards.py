# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be in an image, wherever it comes from, and what must be."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import guards
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.guards import Guarded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Node, Tree
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEddyNy6mXc9xLJFHK/rKeMTEbvW0JnhWVQtyrVIQL5I"
PEM = "-----BEGIN {0}PRIVATE KEY-----\nx\n"


def good() -> Tree:
    """A finished tree that has nothing wrong with it."""
    tree = Tree()
    for path in guards.HOOK:
        tree.write(path, "x", 0o755)
    tree.write("usr/local/bin/python3.9", "x", 0o755)
    tree.write("boot/nanozfs/allowed_signers", '# ours\nrelease@x namespaces="nanozfs-image" {0}\n'.format(KEY))
    tree.write("etc/fstab", "tmpfs /tmp tmpfs rw 0 0\n# /dev/ada0 / ufs\n")
    users = ("root:", "toor:*", "x:*LOCKED*$6$a$b", "d:0123456789abc")
    tree.write("etc/master.passwd", "".join(each + ":0:0::0:0::/:/bin/sh\n" for each in users), 0o600)
    tree.write(
        "etc/rc.conf",
        'sshd_enable="YES"\n#password="x"\na_password_file="/etc/x"\nb_password=""\nc_password="$6$a$b"\n',
    )
    tree.write("etc/ppp/ppp.conf", "papchap:\n set authname USERNAME\n set authkey PASSWORD\n")
    tree.write("etc/README", "  " + PEM.format("") + "where a key begins\n")
    return tree


def test_nothing_wrong() -> None:
    guards.check(good())


@pytest.mark.parametrize(
    "path, text, said",
    [
        ("etc/ssh/ssh_host_rsa_key", "x", "etc/ssh/ssh_host_rsa_key must not be .* same key"),
        ("conf/recovery/etc/ssh/ssh_host_ed25519_key.pub", "x", "conf/recovery/etc/ssh/ssh_host_ed25519_key.pub must"),
        ("usr/local/etc/ssh_host_ecdsa_key", "x", "usr/local/etc/ssh_host_ecdsa_key must not"),
        ("etc/zfs/zpool.cache", "x", "etc/zfs/zpool.cache must not"),
        ("conf/recovery/etc/zfs/zpool.cache", "x", "conf/recovery/etc/zfs/zpool.cache must not"),
        ("etc/ssl/a.pem", PEM.format(""), "etc/ssl/a.pem has a private key"),
        ("etc/ssl/a.pem", "certificate\n" + PEM.format("RSA "), "etc/ssl/a.pem has a private key"),
        ("root/.ssh/id", PEM.format("OPENSSH "), "root/.ssh/id has a private key"),
        ("conf/recovery/etc/x", PEM.format("ENCRYPTED "), "conf/recovery/etc/x has a private key"),
        ("usr/local/etc/x", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "usr/local/etc/x has a private key"),
        ("etc/x.yml", "key: |\n  " + PEM.format("RSA ").replace("x", "  " + "M" * 64), "etc/x.yml has a private key"),
        ("etc/x.json", '{"k": "' + PEM.format("")[:-3] + "\\n" + "M" * 64 + '"}', "etc/x.json has a private key"),
        ("cfg/ssl/a.pem", PEM.format(""), "cfg/ssl/a.pem has a private key"),
        ("etc/local/wg1.conf", "[Peer]\nPresharedKey=" + "A" * 43 + "=\n", "wg1.conf has a private key"),
        ("etc/local/wg0.conf", "[Interface]\nPrivateKey = " + "A" * 43 + "=\n", "wg0.conf has a private key"),
        (
            "conf/recovery/etc/master.passwd",
            "root:secret:0:0::0:0::/:\n",
            "recovery/etc/master.passwd has the password of",
        ),
        ("etc/passwd", "root:secret:0:0::/:\n", "etc/passwd has the password of root in clear"),
        ("etc/passwd", "root:correcthorse1:0:0::/:\n", "etc/passwd has the password of root in clear"),
        ("etc/passwd", "root:$ecret$word:0:0::/:\n", "etc/passwd has the password of root in clear"),
        ("boot/loader.conf", 'bootlock_password="correcthorses"\n', r"in clear \(bootlock_password\)"),
        ("boot/loader.conf", "password=*\n", r"in clear \(password\)"),
        ("etc/rc.conf.local", "export x_password=y\n", r"in clear \(x_password\)"),
        ("etc/wpa_supplicant.conf", '\twep_key0="abcde"\n', r"in clear \(wep_key0\)"),
        ("usr/local/etc/nginx/.htpasswd", "joe:secret\n", "htpasswd has the password of joe"),
        ("etc/rc.conf", "pppoe_password='secret' # x\n", r"etc/rc.conf has a password in clear \(pppoe_password\)"),
        ("etc/rc.conf.d/x", "x_secret=y\n", "etc/rc.conf.d/x has a password in clear"),
        ("boot/loader.conf", 'password="secret"\n', "boot/loader.conf has a password in clear"),
        ("boot/loader.conf.d/x.conf", 'kern.geom.eli.passphrase="s"\n', "x.conf has a password in clear"),
        ("etc/wpa_supplicant.conf", 'network={\n\tpsk="secret"\n}\n', "wpa_supplicant.conf has a password in clear"),
        ("conf/recovery/etc/ppp/ppp.conf", "default:\n set authkey secret\n", r"ppp.conf has a password .*authkey"),
        ("etc/ppp/ppp.conf", "default:\n set authkey secret\n", r"etc/ppp/ppp.conf has a password .*authkey"),
        ("conf/recovery/etc/fstab", "/dev/ada0p2 / ufs rw 1 1\n", "conf/recovery/etc/fstab mounts / from /dev/ada0p2"),
        ("conf/default/etc/fstab", "x", "conf/default/etc/fstab would be put in force .* before the early hook"),
        ("conf/default/etc/remount", "mount -o ro /dev/da0s3", "conf/default/etc/remount would be put in force"),
        ("conf/default/var.cpio.gz", "x", "conf/default/var.cpio.gz would be put in force"),
        ("conf/192.0.2.11/etc/rc.conf", "x", "conf/192.0.2.11/etc/rc.conf would be put in force"),
        ("firstboot", "", "/firstboot must not be in an image"),
        ("firstboot-reboot", "", "/firstboot-reboot must not be in an image"),
        ("boot/nanozfs/allowed_signers", "\n", "trusts nobody"),
        ("boot/nanozfs/allowed_signers", "release@x ssh-ed25519 AAAA\n", "a line that is no signer"),
        ("boot/nanozfs/allowed_signers", KEY + "\n", "a line that is no signer"),
    ],
)
def test_what_is_refused(path: str, text: str, said: str) -> None:
    tree = good()
    tree.write(path, text)
    with pytest.raises(Guarded, match=said) as caught:
        guards.check(tree)
    assert "nothing was built" in str(caught.value)


@pytest.mark.parametrize("path", guards.HOOK)
def test_the_hook_is_complete(path: str) -> None:
    tree = good()
    tree.remove(path)
    with pytest.raises(Guarded, match=r"a part of the early boot hook is missing \({0}".format(path)):
        guards.check(tree)


def test_the_hook_can_be_run() -> None:
    tree = good()
    tree.write(guards.EXTRACT, "x", 0o644)
    with pytest.raises(Guarded, match="cannot be executed"):
        guards.check(tree)


def test_python() -> None:
    tree = good()
    tree.write("usr/local/bin/python3.9", "x", 0o644)
    with pytest.raises(Guarded, match="has no Python"):
        guards.check(tree)
    tree.link("usr/local/bin/python3", "../python/bin/python3.11")
    with pytest.raises(Guarded, match="has no Python"):
        guards.check(tree)
    tree.write("usr/local/python/bin/python3.11", "x", 0o755)
    guards.check(tree)
    tree.link("usr/local/bin/python3", "/usr/local/python/bin/python3.11")
    guards.check(tree)
    tree.remove("usr/local/bin/python3")
    tree.write("usr/local/bin/python3-config", "x", 0o755)
    with pytest.raises(Guarded, match="has no Python"):
        guards.check(tree)


def test_programs_are_no_configuration() -> None:
    """A loader or a library knows how a key begins."""
    tree = good()
    for path in ("boot/loader.efi", "usr/lib/libcrypto.so", "usr/local/share/doc/rc.conf"):
        tree.write(path, PEM.format("") + "password=x\n")
    guards.check(tree)


def test_an_exception_is_for_one_file() -> None:
    tree = good()
    tree.write("etc/ssl/a.pem", PEM.format(""))
    guards.check(tree, ["/etc/ssl/a.pem"])
    tree.write("etc/ssl/b.pem", PEM.format(""))
    with pytest.raises(Guarded, match=r"etc/ssl/b.pem"):
        guards.check(tree, ["/etc/ssl/a.pem"])
    tree.write("etc/ssh/ssh_host_rsa_key", "x")
    with pytest.raises(Guarded, match="same key"):
        guards.check(tree, ["etc/ssh/ssh_host_rsa_key", "etc/ssl/b.pem"])


def test_what_is_in_etc_is_called_so() -> None:
    """Although its second name comes first."""
    tree = good()
    tree.put("etc/ssl/a.pem", Node(FILE, 0o600, data=PEM.format("").encode()))
    tree.copy("etc", "conf/base/etc")
    with pytest.raises(Guarded, match=r"^etc/ssl/a.pem has"):
        guards.check(tree)


def test_a_label(images: Images, tmp_path: Path) -> None:
    """Set as tunefs -L does it."""
    path = tmp_path / "image"
    path.write_bytes(images.content("1.1"))
    guards.check_label(str(path))
    with open(path, "r+b") as file:
        file.seek(8192 + 680)
        file.write(struct.pack("32s", b"rootfs"))
    with pytest.raises(FleetError, match="UFS label 'rootfs'"):
        guards.check_label(str(path))


@pytest.mark.parametrize(
    "path, text, said",
    [
        (
            ".git/config",
            "url = https://ci:token@git.example.org/site.git\n",
            r".git/config belongs to a repository .*\.git",
        ),
        ("usr/local/www/app/.svn/wc.db", "x", r"\.svn/wc.db belongs to a repository"),
        ("usr/local/share/app/tls.key", PEM.format(""), "usr/local/share/app/tls.key has a private key"),
        ("usr/local/www/site/deploy", PEM.format("OPENSSH "), "usr/local/www/site/deploy has a private key"),
    ],
)
def test_what_the_owner_lays_over_it(path: str, text: str, said: str) -> None:
    """There a private key is none of a package's tests, wherever it lies."""
    tree = Tree()
    tree.write(path, text)
    with pytest.raises(Guarded, match=said):
        guards.check_overlays(tree)


def test_what_an_overlay_may_have() -> None:
    tree = Tree()
    for path in ("usr/local/share/app/test.key", "var/db/acme/key.pem"):
        tree.write(path, PEM.format(""))
    tree.write("etc/.gitignore", "*.swp\n")
    guards.check_overlays(tree, ["/usr/local/share/app/test.key"])


def test_no_way_past(images: Images, tmp_path: Any) -> None:
    """From a folder for recovery mode, through the whole build."""
    (tmp_path / "recovery" / "ssh").mkdir(parents=True)
    (tmp_path / "recovery" / "ssh" / "ssh_host_rsa_key").write_text("x")
    definition = images.definition("1.1", 11)
    with pytest.raises(Guarded, match="conf/recovery/etc/ssh/ssh_host_rsa_key"):
        images.build("1.1", 11, recovery=[*definition.recovery, str(tmp_path / "recovery")])
