# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Getting the archives of packages into the cache, several at a time."""

from __future__ import annotations

import concurrent.futures
import os
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ansible.module_utils.urls import open_url

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import (
    Digest,
    Say,
    Store,
    Supplied,
    SupplyError,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.lock import Locked
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.repository import Repository

#: archives that are fetched at a time
AT_ONCE = 4

#: a line is said each time that so much more has arrived (bytes)
STEP = 50 << 20


def missing(packages: Sequence[Locked], store: Store) -> List[Locked]:
    """Those that are not in the cache."""
    return [each for each in packages if not os.path.exists(store.path(each.digest))]


def fetch(
    packages: Sequence[Locked],
    repositories: Mapping[str, Repository],
    cache: str,
    say: Say,
    opener: Callable[..., Any] = open_url,
) -> List[Supplied]:
    """Have packages on this machine; what the cache has is compared with its digest, and not fetched.

    What has arrived is kept when one fails, or somebody ends the build: the next one goes on from there.

    :param repositories: by name.
    :param say: told how far it is.
    :returns: in the order of *packages*.
    :raises FleetError: when one cannot be had, or is not what it should be.
    """
    store = Store(cache, lambda text: say(_public(text, repositories)), opener)
    quiet = Store(cache, lambda text: None, opener)
    wanted = [each for each in packages if not _is_usable(each, repositories, store)]
    for each in wanted:
        if each.repository not in repositories:
            raise RepositoryError(
                "{0} comes from the repository {1}, which image_pkg_repository does not name".format(
                    each.title, each.repository
                ),
                todo="name it again, or build with image_pkg_update=true",
            )
    fetched = _fetch(wanted, repositories, quiet, say)  # compared as they arrived
    found = []
    for each in packages:
        path = fetched.get(each.digest) or _had(
            lambda each=each: _get(store, each, repositories),  # type: ignore[misc]
            each,
            repositories,
        )
        sha256 = each.digest.value if each.digest.algorithm == "sha256" else digest_file(path)
        if each.sha256 not in ("", sha256):
            raise RepositoryError(
                "{0} has the SHA-256 {1}, and the lock says {2}".format(each.title, sha256, each.sha256),
                todo="see in git who has changed the lock",
            )
        found.append(Supplied(path, os.path.basename(each.path), sha256))
    return found


def _is_usable(package: Locked, repositories: Mapping[str, Repository], store: Store) -> bool:
    """Whether the cache has a package. A damaged one can be fetched anew only where its repository is named."""
    path = store.path(package.digest)
    if package.repository in repositories or not os.path.exists(path):
        return os.path.exists(path)
    return package.digest.of(path) == package.digest.value


def _get(store: Store, package: Locked, repositories: Mapping[str, Repository]) -> str:
    repository = repositories.get(package.repository)
    if repository is None:
        return store.path(package.digest)
    return store.get(repository.address(package.path), package.digest, package.size)


def _fetch(
    wanted: Sequence[Locked], repositories: Mapping[str, Repository], store: Store, say: Say
) -> Dict[Digest, str]:
    """Fetch packages, some at once; where each is."""
    total, arrived, said = sum(each.size for each in wanted), 0, 0
    paths: Dict[Digest, str] = {}
    if not wanted:
        return paths
    say("fetching {0} packages, {1:.1f} MB".format(len(wanted), total / 1e6))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        works = {pool.submit(_get, store, each, repositories): each for each in wanted}
        try:
            for number, work in enumerate(concurrent.futures.as_completed(works), 1):
                paths[works[work].digest] = _had(work.result, works[work], repositories)
                arrived += works[work].size
                if arrived - said >= STEP or number == len(wanted):
                    said = arrived
                    say(
                        "fetched {0} of {1} packages, {2:.1f} of {3:.1f} MB".format(
                            number, len(wanted), arrived / 1e6, total / 1e6
                        )
                    )
        except BaseException:
            for work in works:
                work.cancel()
            raise
    return paths


def _had(result: Callable[[], str], package: Locked, repositories: Mapping[str, Repository]) -> str:
    """The path of a package that has arrived.

    :param result: waits for it.
    :raises RepositoryError: when it has not; an address in it has no password.
    """
    try:
        return result()
    except SupplyError as error:
        raise RepositoryError(
            "{0}: {1}; what has arrived is kept".format(package.title, _public(error.what, repositories)),
            todo="begin it again; where the repository has moved on and does not have {0} any more, "
            "image_pkg_update=true takes what it has now".format(package.title),
        )
    except FleetError as error:
        raise RepositoryError(
            "{0}: {1}".format(package.title, _public(error.what, repositories)), todo=error.todo or ""
        )


def _public(text: str, repositories: Mapping[str, Repository]) -> str:
    """A text with the addresses of repositories as everybody may see them."""
    for each in repositories.values():
        text = text.replace(each.url, each.shown)
    return text
