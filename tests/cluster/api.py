"""What every provider of a test cluster offers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ClusterError(Exception):
    """Something a person has to know or do; the message says what. Shown without a traceback."""


@dataclass(frozen=True)
class Health:
    """The answer to "does it work?".

    Attributes
    ----------
    healthy
        Whether pods can be expected to run now.
    details
        One line per thing looked at, for a person.
    """

    healthy: bool
    details: tuple[str, ...]


class Cluster(Protocol):
    """A cluster under test. Every method may be called again after it was interrupted."""

    @property
    def name(self) -> str:
        """Name the cluster goes by on this machine."""

    @property
    def kubeconfig(self) -> Path:
        """Path of an administrator's kubeconfig; the file exists while the cluster does."""

    @property
    def bin_dir(self) -> Path:
        """Folder that holds ``kubectl`` and ``helm`` in the pinned versions; built when missing."""

    def up(self) -> None:
        """Return once pods can run: at once on a healthy cluster, after making it again on a broken one."""

    def down(self, *, purge: bool = False) -> None:
        """Remove the cluster and all that belongs to it, or nothing if it is the user's own.

        Parameters
        ----------
        purge
            Also forget what makes the next :meth:`up` cheap (the images that were loaded).
        """

    def health(self) -> Health:
        """Look at the cluster without changing it."""

    def load_image(self, image: str) -> str:
        """Build one of the project's images if it is stale and make the nodes know it.

        Parameters
        ----------
        image
            A target of the Dockerfile: ``operator``, ``skypilot`` or ``engine-cpu``.

        Returns
        -------
        str
            The reference to put into a pod, to be used with ``imagePullPolicy: IfNotPresent``.
        """
