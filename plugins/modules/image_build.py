#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build, sign and publish the image of an OS slice
version_added: 1.0.0
description:
  - Puts a FreeBSD tree, archives and overlays together, changes them into an image with the layout of the collection,
    makes a UFS file system of it, publishes it with a signed manifest in a folder, and lays out bootable media.
  - Runs on the controller, as any user. It needs C(makefs(8)), which FreeBSD has in its base system and Debian in a
    package, C(ssh-keygen(1)), for media that boot by UEFI mtools, and for small deltas the Python package C(bsdiff4).
  - The image says where it comes from (C(/boot/nanozfs/origin.json)) - release, revision, kernel, options, archives and
    packages. It is published with a list of its files and a bill of materials.
  - When exactly this image was published in the folder before, nothing is done.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
  - nanozfs.fleet.publish
  - nanozfs.fleet.holes
options:
  name:
    description: Name of the image, the same for all its versions.
    type: str
    required: true
  version:
    description: Version, for people.
    type: str
    required: true
  seq:
    description: A number that grows with every version. A host refuses what is lower than what it runs.
    type: int
    required: true
  min_seq:
    description: The lowest O(seq) that a host which runs this image accepts under any circumstances.
    type: int
    default: 0
  arch:
    description:
      - Architecture, as C(hw.machine_arch) says it. By default that of the system that the image is made of; not
        required since 1.1.0.
    type: str
    default: ""
  abi:
    description:
      - ABI, as C(pkg) says it. By default that of the system that the image is made of; not required since 1.1.0.
    type: str
    default: ""
  pool:
    description: Name of the pool that hosts with this image have their data on.
    type: str
    required: true
  size:
    description: Size of the image in bytes, a multiple of 4096. Every slice of the fleet must be at least as large.
    type: int
    required: true
  tree:
    description:
      - The archive of the system that M(nanozfs.fleet.nanobsd_build) has brought, below all O(sources) - a path, or a
        dictionary of C(src) and C(sha256).
    type: raw
  sources:
    description:
      - Folders and tar archives that make up the FreeBSD system, laid over each other in this order. Each one is a
        path,
        a URL (V(https:), V(http:), V(file:)), or a dictionary of C(src) and C(sha256).
      - What comes from a URL must have a digest, its own or the one that O(manifest) names.
      - A folder with a C(METALOG) in it, as C(make installworld -DNO_ROOT) leaves one, gets owners, modes and hard
        links
        from that. In any other folder everything belongs to root.
    type: list
    elements: raw
    default: []
  base:
    description:
      - The base system from packages (pkgbase), in place of C(base.txz) and C(kernel.txz) in O(sources), from FreeBSD
        15.0 on. It has C(release) (V("15.0"), as a string) and C(set) (V(minimal), V(optional), V(devel), V(base),
        V(lib32), or a list of these), and may have C(packages) (others of the base system, as V(ntp)), C(kernel)
        (V(generic); V(none) where O(sources) has one), C(url), C(signature_type) and C(trust).
      - They are chosen, judged and locked as and with those of O(pkg). C(mtree) and C(ssh) come in any case, as every
        host needs them.
      - O(sources) may bring what is not there, and lies below it; another base system or kernel in it is refused.
    type: dict
    version_added: 1.1.0
  manifest:
    description:
      - Path or URL (V(https:)) of the C(MANIFEST) of the release, or a dictionary of C(src) and C(sha256), which a
        MANIFEST that comes by http needs. Every archive in O(sources) must then have the SHA-256 that it names, or one
        of its own.
    type: raw
    default: ""
  metalog:
    description: The METALOG of the folders in O(sources), where it is not in them.
    type: path
  metalog_unlisted:
    description:
      - What becomes of files that are in a folder and not in its METALOG. V(refuse) ends the build, V(root) takes them
        as
        root's with the mode that they have, V(skip) leaves them out.
    type: str
    choices: [refuse, root, skip]
    default: refuse
  packages:
    description:
      - FreeBSD packages, laid over O(sources) - paths of files or of folders with C(*.pkg), URLs, or dictionaries of
        C(src)
        and C(sha256). All that they depend on must be among them.
      - Owners are found by their names, in C(etc/master.passwd) and C(etc/group) of the image. Users and groups that a
        package brings with all they need are added.
      - Lua scripts of packages are run, with the Python package lupa, in a process that sees nothing but the image;
        users, groups and homes that shell scripts of the ports tree make are made. Any other script is named in a
        warning.
      - Packages with zstd need the Python package zstandard.
      - With the package C(pkg) among them, or in O(pkg), the image has the database from which C(pkg info),
        C(pkg which) and C(pkg audit) say what is installed, where nobody can write to it.
    type: list
    elements: raw
    default: []
  pkg:
    description:
      - FreeBSD packages from a repository, with all that they depend on, laid over O(sources) beside O(packages) -
        names (V(nginx)), names with versions (V(nginx-1.28.0,3)), ports (V(www/nginx)) or flavours of ports
        (V(devel/py-pip@py311)). No C(pkg) and no FreeBSD is needed for that.
      - The catalogue of the repository is judged by its signature. What needs what, shared libraries, conflicts, ABI
        and release are seen to; what is missing, or does not fit, is refused with the chain that leads to it.
      - What was chosen stands in O(pkg_lock). As long as that fits, no catalogue is looked at, and what is in O(cache)
        is not fetched again.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  pkg_repository:
    description:
      - Where O(pkg) comes from - an address (V(https:), V(http:), V(pkg+http:), V(file:) or a folder) with C(${ABI})
        where the ABI belongs, or a list of dictionaries with C(url), and where they are needed C(name),
        C(signature_type), C(trust) and C(priority).
      - Of several, those with the highest C(priority) that have a package are taken, and of these the highest version.
    type: raw
    default: pkg+http://pkg.FreeBSD.org/${ABI}/quarterly
    version_added: 1.1.0
  pkg_signature_type:
    description:
      - How repositories are signed, where they do not say it themselves. V(none) is for a folder, or one that comes by
        https.
    type: str
    choices: [fingerprints, pubkey, none]
    default: fingerprints
    version_added: 1.1.0
  pkg_signature_trust:
    description:
      - The folder with C(trusted/) and C(revoked/), or the file of the public key, on the controller.
      - Where there is no V(/usr/share/keys/pkg), it stands for the fingerprints that FreeBSD ships.
    type: str
    default: /usr/share/keys/pkg
    version_added: 1.1.0
  pkg_lock:
    description:
      - The file with what was chosen for O(pkg), with digests; for git. It is made where it is not there.
      - By default C(<name>.packages.lock.json) in C(files/) of the site, or beside its playbook or inventory.
    type: str
    version_added: 1.1.0
  pkg_update:
    description:
      - Choose again, from what repositories have now, and say what that changes.
    type: bool
    default: false
    version_added: 1.1.0
  pkg_scripts:
    description:
      - What becomes of scripts of packages that are not run - V(report) names each in a warning, V(refuse) ends the
        build.
    type: str
    choices: [report, refuse]
    default: report
    version_added: 1.1.0
  pkg_scripts_known:
    description:
      - Scripts that were looked at and need not run - their SHA-256, which the warning has, and why. One that a new
        version of the package changes is told again.
    type: dict
    default: {}
    version_added: 1.1.0
  base_files:
    description:
      - A folder with what every image of the collection has - C(root) is laid below all O(overlays), C(recovery) below
        all O(recovery). The role P(nanozfs.fleet.image#role) has it.
    type: path
  overlays:
    description: Folders to lay over that; their contents belong to root.
    type: list
    elements: path
    default: []
  recovery:
    description: Folders that are laid over C(/etc) when a host comes up in recovery mode.
    type: list
    elements: path
    default: []
  signers:
    description: Lines of the allowed_signers file of the image - whose signatures its successors need.
    type: list
    elements: str
    required: true
  revoked:
    description: Public keys that the image does not trust any more, whatever O(signers) says.
    type: list
    elements: str
    default: []
  rc_conf:
    description:
      - Defaults of C(rc.conf) for all hosts with the image. A host's own C(rc.conf) goes before them. They are written
        to
        C(/etc/defaults/vendor.conf). True and false become V(YES) and V(NO).
    type: dict
    default: {}
  loader_conf:
    description: Settings of C(/boot/loader.conf).
    type: dict
    default: {}
  recovery_rc_conf:
    description: Settings of C(rc.conf) in recovery mode, for the network say.
    type: dict
    default: {}
  recovery_ssh_keys:
    description: Public keys that root may log in with in recovery mode.
    type: list
    elements: str
    default: []
  recovery_root_password:
    description:
      - Password of root in recovery mode. It is hashed here, always to the same hash for the same O(name), by the
        Python
        package passlib.
      - Whoever can fetch the image can try passwords on the hash.
    type: str
  recovery_root_hash:
    description: The same, as C(crypt(3)) hashed it (C(openssl passwd -6)).
    type: str
  metrics:
    description:
      - The file, on hosts with the image, that C(nanozfs metrics) is written to every five minutes, for the textfile
        collector of node_exporter, such as V(/var/tmp/node_exporter/nanozfs.prom). Its folder must be there. Not
        written without it.
    type: str
    default: ""
    version_added: 1.1.0
  allow_secrets:
    description:
      - Files of the image, as paths in it, that may hold a password or private key. Any other is refused, because
        whoever
        can fetch the image can read it.
    type: list
    elements: str
    default: []
  etc_size:
    description: Size of the memory disk for C(/etc) in bytes.
    type: int
    default: 20971520
  epoch:
    description:
      - The time of every file that is from no archive, in seconds since the epoch. By default the environment variable
        E(SOURCE_DATE_EPOCH), or else the first of January 2024.
    type: int
"""

EXAMPLES = r"""
- name: Build from the release sets
  nanozfs.fleet.image_build:
    name: web
    version: "1.1"
    seq: 11
    pool: tank
    size: 1073741824
    sources:
      - https://download.freebsd.org/releases/amd64/15.1-RELEASE/base.txz
      - https://download.freebsd.org/releases/amd64/15.1-RELEASE/kernel.txz
    manifest: https://download.freebsd.org/releases/amd64/15.1-RELEASE/MANIFEST
    packages: [/srv/packages]
    overlays: [/srv/fleet/overlay]
    signers: ['release@fleet namespaces="nanozfs-image" ssh-ed25519 AAAA...']
    signing_key: ~/.ssh/release
    output: /srv/www/images
"""

RETURN = r"""
says:
  description: The same for people, a line each.
  returned: success
  type: list
  elements: str
  sample: ["web-1.1: build 90ab12cd34ef5678, published", "rings: canary: 1.1 (3fa9c1d2b07e)"]
image:
  description: The manifest. Sizes in bytes. Null in check mode when the image would have to be built.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
lock:
  description: The lock of O(pkg) - its path, and what has changed in it, a line each.
  returned: with O(pkg)
  type: dict
  sample: {path: /srv/site/web.packages.lock.json, changes: ["nginx 1.26.3,3 -> 1.28.0,3"]}
  version_added: 1.1.0
build:
  description:
    - Name of exactly this build; the same inputs give the same one. Null in check mode when packages would have to be
      fetched.
  returned: success
  type: str
  sample: 90ab12cd34ef5678
files:
  description: Paths of the published files.
  returned: when published
  type: dict
  sample:
    windows: /srv/www/images/3fa9c1d2….win
    medium: /srv/www/images/3fa9c1d2….disk.img.xz
    medium-mbr: /srv/www/images/3fa9c1d2….mbr.disk.img.xz
    files: /srv/www/images/3fa9c1d2….files.xz
    sbom: /srv/www/images/3fa9c1d2….cdx.json
offers:
  description: The ways to the image, with the bytes that a host needs at most.
  returned: when published
  type: list
  elements: dict
  sample: [{title: "the delta from 1.0 (xz): 5.05 MB", kind: delta, codec: xz, from: "1.0", bytes: 5050000}]
difference:
  description:
    - What differs from the image before (the one with the next lower seq) - a line for people, and numbers as in
      RV(nanozfs.fleet.image_diff#module:difference). Null where there is none, or no list of its files.
  returned: when published
  type: dict
  sample:
    summary: "against web-1.0: 12 files changed, 3 added, 1 package updated"
    files_changed: 12
    files_added: 3
    packages_changed: 1
rings:
  description: Id of the image that each ring should run.
  returned: when published
  type: dict
  sample: {canary: 3fa9c1d2...}
bad:
  description: Why each image is bad that is on the list of bad images, by its id.
  returned: success
  type: dict
  sample: {90ab12cd...: does not come up on the site-b boards}
  version_added: 1.1.0
removed:
  description: Ids of the images that were removed because O(keep) says so.
  returned: when published
  type: list
  elements: str
  sample: []
manifest:
  description: Path of the manifest.
  returned: when published
  type: str
  sample: /srv/www/images/3fa9c1d2….manifest.json
"""
