# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook build with image_pkg, by ansible-playbook: from a signed repository to a published image, and on."""

from __future__ import annotations

import datetime
import hashlib
import json
import lzma
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import origin
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils import test_base as base_system
from ansible_collections.nanozfs.fleet.tests.unit.repositories import Made, public, rsa_key
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import document, package, vuln
from ansible_collections.nanozfs.fleet.tests.unit.web import Server

DEPS: Dict[str, Any] = {"deps": {"pcre2": {"origin": "devel/pcre2", "version": "10"}}}


class Site:
    """A folder with an inventory, a repository on a server, and a place for images."""

    def __init__(self, folder: Path, images: Images, server: Server) -> None:
        self.folder, self.server = folder, server
        self.made = Made(folder / "repository" / "FreeBSD:13:amd64")
        self.made.trust(folder / "keys")
        self.made.add("nginx", origin="www/nginx", **DEPS)
        self.made.add("pcre2", sums="blake2")
        self.publish()
        shell = folder / "shell" / "bin" / "sh"
        shell.parent.mkdir(parents=True)
        shell.write_bytes(b"\x7fELF\2\1" + bytes(12) + (62).to_bytes(2, "little"))  # of amd64, which nobody says
        self.variables: Dict[str, Any] = {
            "image_name": "web",
            "image_version": "1.0",
            "image_seq": 10,
            "image_size": 8 << 20,
            "image_sources": [os.path.join(images.folder, "tree"), str(folder / "shell")],
            "image_cache": str(folder / "cache"),
            "image_signing_key": images.key,
            "image_signers": [images.signer],
            "image_output": str(folder / "published"),
            "image_medium": False,
            "image_sbom": False,
            "image_etc_size": 1 << 20,
            "image_pkg": ["www/nginx"],
            "image_pkg_repository": server.url + "/${ABI}",
            "image_pkg_signature_trust": "keys",  # beside the inventory
        }
        self.lock = folder / "web.packages.lock.json"

    def publish(self) -> None:
        """Put on the server what the repository has now."""
        self.made.publish()
        for path in (self.folder / "repository").rglob("*"):
            if path.is_file():
                name = "/" + str(path.relative_to(self.folder / "repository"))
                for written in (urllib.parse.quote(name), "/FreeBSD:13:amd64" + urllib.parse.quote(name[17:])):
                    self.server.files[written] = path.read_bytes()

    def play(self, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Run the playbook."""
        inventory = {"all": {"vars": dict(self.variables, ansible_python_interpreter=sys.executable)}}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        self.server.asked = []
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "nanozfs.fleet.build"]
        argv += ["-e", json.dumps(changes), *options]
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False)

    def origin(self, seq: int) -> origin.Origin:
        """What the image with a number says of where it comes from."""
        manifests = (self.folder / "published").glob("*.manifest.json")
        (path,) = [path for path in manifests if json.loads(path.read_text())["seq"] == seq]
        with lzma.open(str(path).replace(".manifest.json", ".pack")) as file:
            content = file.read()
        text = Ufs(lambda offset, length: content[offset : offset + length]).read(origin.ORIGIN_JSON)
        return origin.parse((text or b"").decode())


@pytest.fixture
def site(tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    (tmp_path / "site").mkdir()
    yield Site(tmp_path / "site", images, server)
    server.close()


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def versions(found: origin.Origin) -> List[str]:
    return ["{0}-{1}".format(each.name, each.version) for each in found.packages]


def test_from_a_repository_to_an_image(site: Site) -> None:
    """Check mode, the build, again without a server, and on with image_pkg_update."""
    done = site.play("--check", "--diff")
    assert done.returncode == 0, said(done)
    assert "packages: 2 of 2 would be fetched" in said(done) and "+nginx 1.2_3,1" in done.stdout
    assert not site.lock.exists() and not (site.folder / "published").exists()

    done = site.play()
    assert done.returncode == 0 and "fetched 2 of 2 packages" in said(done), said(done)
    assert site.lock.exists(), "it is in the folder of the site"
    assert versions(site.origin(10)) == ["nginx-1.2_3,1", "pcre2-1.2_3,1"]
    assert "packages.lock.json" in [each.name for each in site.origin(10).inputs]

    site.made.add("nginx", version="2.0", origin="www/nginx", old="nginx", **DEPS)
    site.publish()
    done = site.play()
    assert done.returncode == 0 and "changed=0" in done.stdout and "changed=1" not in done.stdout, said(done)
    assert site.server.asked == []

    before = site.lock.read_bytes()
    done = site.play("--check", "--diff", image_version="1.1", image_seq=11, image_pkg_update=True)
    assert done.returncode == 0 and "nginx 1.2_3,1 -> 2.0" in said(done), said(done)
    assert "packages: 1 of 2 would be fetched" in said(done) and site.lock.read_bytes() == before
    done = site.play(image_version="1.1", image_seq=11, image_pkg_update=True)
    assert done.returncode == 0 and "nginx 1.2_3,1 -> 2.0" in said(done), said(done)
    assert versions(site.origin(11)) == ["nginx-2.0", "pcre2-1.2_3,1"] and site.lock.read_bytes() != before


def test_known_holes(site: Site) -> None:
    """Said of what was chosen, before anything is fetched and after, by the list that is here; no server is asked."""
    day = (datetime.date.today() - datetime.timedelta(days=1)).isoformat()
    entry = vuln(1, package(["pcre2"], "lt 1.3,1"), cves=["CVE-2026-1"], entered=day)
    (site.folder / "vuln.xml").write_bytes(document(entry))
    for options in (("--check",), (), ("--check",)):
        done = site.play(*options, audit_vuxml="vuln.xml")
        assert done.returncode == 0, said(done)
        assert "web-1.0: 1 known hole in 1 package: pcre2 1.2_3,1 (CVE-2026-1)" in said(done)
        assert "support of 13.2-RELEASE-p4 ended on 2024-06-30" in said(done)
    done = site.play("--check", audit_vuxml="vuln.xml", audit_ignore="CVE-2026-1 2099-12-31 no regular, expressions")
    assert done.returncode == 0 and "web-1.0: no known holes, 1 accepted" in said(done), said(done)
    done = site.play("--check", audit_vuxml="https://192.0.2.1/vuln.xml.xz", audit_ignore=[])
    assert done.returncode == 0 and "vuln.xml.xz was never fetched" in said(done), said(done)
    done = site.play("--check", image_sbom_vex=True)
    assert done.returncode != 0 and "image_sbom_vex needs the list of known holes" in said(done)


def test_what_is_refused(site: Site) -> None:
    """With the reason, and what to do."""
    done = site.play(image_pkg=["www/none"])
    assert done.returncode != 0 and "no repository has a package of the port www/none" in said(done)
    done = site.play(image_pkg_signature_trust="/usr/share/keys/pkg")
    assert done.returncode != 0 and "signed by nobody who is trusted" in said(done)
    done = site.play(image_pkg_signature_type="gpg")
    assert done.returncode != 0 and "image_pkg_signature_type must be fingerprints or pubkey or none" in said(done)
    assert not site.lock.exists() and not (site.folder / "published").exists()


def test_several_repositories(site: Site) -> None:
    """Our own, of whatever signature, goes before the other one."""
    own = Made(site.folder / "own", rsa_key(1))
    own.add("pcre2", version="0.1")
    own.members = None
    own.publish()
    (site.folder / "files").mkdir()
    (site.folder / "files" / "r.pub").write_bytes(public(rsa_key()))
    places = [
        {"name": "main", "url": site.server.url + "/${ABI}"},
        {"name": "own", "url": "own", "signature_type": "none", "priority": 10},
    ]
    done = site.play(image_pkg_repository=places)
    assert done.returncode == 0, said(done)
    assert versions(site.origin(10)) == ["nginx-1.2_3,1", "pcre2-0.1"]


def test_the_base_system_from_packages(site: Site, images: Images, tmp_path: Path) -> None:
    """Without sets: image_base in place of image_sources."""
    mirror = base_system.Site(images, tmp_path)
    mirror.base.trust(site.folder / "keys-base")
    mirror.ports.trust(site.folder / "keys-ports")
    changes: Dict[str, Any] = {
        "image_sources": [],
        "image_base": {"release": "15.0", "set": "minimal", "url": mirror.base.url, "trust": "keys-base"},
        "image_pkg": ["python312"],
        "image_pkg_repository": mirror.ports.url,
        "image_pkg_signature_trust": "keys-ports",
    }
    done = site.play("--check", **changes)
    assert done.returncode == 0 and "packages: 9 of 9 would be fetched" in said(done), said(done)
    done = site.play(**changes)
    assert done.returncode == 0, said(done)
    found = site.origin(10)
    assert found.release == "15.0-RELEASE-p1" and "FreeBSD-kernel-generic-15.0p1" in versions(found)
    changes["image_base"] = {"release": 15.0, "set": "minimal"}  # what YAML makes of it without quotes
    done = site.play(**changes)
    assert done.returncode != 0 and "write it with quotes" in said(done), said(done)


def test_scripts(site: Site) -> None:
    """What a package does in Lua is in the image; what nobody runs is said with its digest, or refused."""
    shell = "chmod 700 /var/log/nginx\n"
    write = "io.open('/usr/local/nginx.conf', 'w'):write('worker_processes 1;')"
    scripts: Dict[str, Any] = {"scripts": {"post-install": shell}, "lua_scripts": {"post-install": [write]}}
    site.made.add("nginx", version="2.0", origin="www/nginx", old="nginx", **scripts, **DEPS)
    site.publish()
    digest = hashlib.sha256(shell.encode()).hexdigest()
    done = site.play(image_pkg_scripts="refuse")
    assert done.returncode != 0 and "(post-install, sh: chmod 700 /var/log/nginx)" in said(done), said(done)
    assert digest in said(done) and not (site.folder / "published").exists()
    done = site.play(image_pkg_scripts="refuse", image_pkg_scripts_known={digest: "the host has its own /var/log"})
    assert done.returncode == 0 and "not run" not in said(done), said(done)
    (pack,) = (site.folder / "published").glob("*.pack")
    with lzma.open(pack) as file:
        content = file.read()
    image = Ufs(lambda offset, length: content[offset : offset + length])
    assert image.read("usr/local/nginx.conf") == b"worker_processes 1;"
    done = site.play()
    assert done.returncode == 0 and "changed=0" in done.stdout and digest in said(done), said(done)
