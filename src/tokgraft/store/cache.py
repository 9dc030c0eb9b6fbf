"""DVC's part: the cache and the remote. The only module that imports dvc."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokgraft.logs import log
from tokgraft.store import StoreError


@contextmanager
def _repo(root: Path) -> Iterator[Any]:
    """DVC's repository.

    Raises:
        StoreError: DVC is missing, not set up here, or failed.
    """
    if not (root / ".dvc").is_dir():
        raise StoreError(f"{root.resolve()} has no .dvc folder", "run in the root of a checkout, or type: dvc init")
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError as error:
        raise StoreError(f"dvc cannot be imported: {error}", "install the locked environment (make setup)") from None
    try:
        with Repo(str(root)) as repo:
            yield repo
    except (DvcException, OSError) as error:
        raise StoreError(f"dvc: {error}", "mend what it says and run again; the artifacts are untouched") from error


@contextmanager
def _only(repo: Any, names: Iterable[str]) -> Iterator[Any]:
    """The repository as if these stages were all it has, locked: commands then take no targets.

    For every target that it is given DVC reads dvc.yaml and dvc.lock again, which takes hours for thousands of stages.
    """
    from dvc.repo import lock_repo
    from dvc.repo.index import Index

    chosen = set(names)
    with lock_repo(repo):  # the commands inside find it locked, and so keep the index
        repo.__dict__["index"] = Index(repo, stages=[stage for stage in repo.index.stages if stage.addressing in chosen])
        yield repo


def changed(root: Path, names: Iterable[str]) -> set[str]:
    """Those stages whose output is here and is not what dvc.lock says (or is not in it). Hashes only what has a new date."""
    chosen = set(names)
    with _repo(root) as repo:
        return {stage.addressing for stage in repo.index.stages if stage.addressing in chosen and any(out.status() for out in stage.outs)}


def record(root: Path, names: Iterable[str]) -> None:
    """Put the outputs of these stages into the cache and into dvc.lock. Entries of all others stay."""
    # As `dvc commit --force` does it, for the chosen stages only: their dates, too, stay as they are.
    with _repo(root) as repo, _only(repo, names):
        stages = repo.index.stages
        for stage in stages:
            stage.save()
            stage.commit()
        if stages:
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def push(root: Path, names: Iterable[str], remote: str | None, jobs: int | None) -> int:
    """Push these stages; how many files went.

    Raises:
        StoreError: The remote is missing, unreachable or refuses.
    """
    then = "nothing is lost, it is recorded here: push again"
    with _repo(root) as repo, _remote(repo, remote, "pushed to", then), _only(repo, names):
        return int(repo.push(remote=remote, jobs=jobs))


def fetch(root: Path, stages: Mapping[str, str], remote: str | None, jobs: int | None) -> str:
    """Fetch the outputs of stages and put them into the folder. What cannot be fetched whole stays absent.

    Args:
        root: Root of the project.
        stages: Stage -> path.
        remote: Name of a remote (default: DVC's default).
        jobs: Downloads at once.

    Returns:
        What went wrong, in DVC's words; empty when all came.

    Raises:
        StoreError: The remote is missing or cannot be reached at all.
    """
    from dvc.exceptions import CheckoutError, DownloadError, DvcException

    trouble = ""
    with _repo(root) as repo:
        with _remote(repo, remote, "read", "then pull again; what came whole is kept"), _only(repo, stages):
            try:
                log.info("fetched %d files", repo.fetch(remote=remote, jobs=jobs))
            except DownloadError as error:
                trouble = f"{error} from {' '.join(_address(repo, remote))}"
        try:
            with _only(repo, stages):
                repo.checkout(targets=[None], force=True)  # no target at all would delete what these stages do not have
        except CheckoutError as error:
            trouble = trouble or str(error).splitlines()[0]
        except (DvcException, OSError, ValueError):
            # The list of a folder is damaged or missing, which stops all: one by one then.
            for name in sorted(stages):
                try:
                    repo.checkout(targets=[name], force=True)
                except (DvcException, OSError, ValueError) as error:
                    trouble = trouble or (str(error).splitlines() or [type(error).__name__])[0]
    return trouble


@contextmanager
def _remote(repo: Any, name: str | None, done: str, then: str) -> Iterator[None]:
    """Give every failure of a remote (DVC's own, or one of the many of its file systems) one form."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import DownloadError

    where, url = _address(repo, name)
    quiet = logging.getLogger("dvc")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        yield
    except DownloadError:
        raise
    except NoRemoteError as error:
        raise StoreError(f"dvc: {error}", "name a store: make remote URL=s3://bucket/folder (or a folder, or ssh://host/folder)") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"the remote {where} {url} cannot be {done}: {reason}", f"check its address, network and credentials, {then}"
        ) from error
    finally:
        quiet.setLevel(level)


def _address(repo: Any, name: str | None) -> tuple[str, str]:
    """Name and URL of a remote."""
    where = name or repo.config["core"].get("remote") or "(no default remote)"
    return where, str(repo.config["remote"].get(where, {}).get("url", ""))


def cached(root: Path, paths: Iterable[Path]) -> bool:
    """Whether the bytes of these files are in DVC's cache, so that replacing them loses nothing."""
    with _repo(root) as repo:
        return all(Path(repo.cache.local.oid_to_path(_md5(path))).is_file() for path in paths)


def forget_damaged(root: Path, names: Iterable[str]) -> list[str]:
    """Take objects out of the cache whose content is not what their name says; their names.

    DVC trusts a remote: a damaged object would come back from the cache for ever.
    """
    chosen, found = set(names), []
    with _repo(root) as repo:
        from dvc_data.hashfile.tree import Tree

        for out in [out for stage in repo.index.stages if stage.addressing in chosen for out in stage.outs]:
            oids = [out.hash_info.value]
            try:
                tree = out.get_obj()
                oids += [entry.value for _, _, entry in tree] if isinstance(tree, Tree) else []
            except Exception as error:
                log.debug("%s: its list cannot be read: %s", out, error)
            for oid in oids:
                path = Path(repo.cache.local.oid_to_path(oid))
                if path.is_file() and _md5(path) != oid.removesuffix(".dir"):
                    path.chmod(0o644)
                    path.unlink()
                    found.append(oid)
    return found


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
