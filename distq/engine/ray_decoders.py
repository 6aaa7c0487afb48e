"""CPU actors that decode beside a worker on a GPU, and hand it arrays through Ray's object store."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from distq.data.ahead import in_order
from distq.data.dataset import DatasetSpec, Sample, UnreadableSample
from distq.engine.attempt import unexpected
from distq.engine.blas import one_blas_thread
from distq.errors import DistqError
from distq.replica.samples import open_dataset
from distq.replica.worker import own


class DecoderLost(DistqError):  # noqa: N818  # it says what happened, and never reaches a person
    """An actor that decodes ended with its process or node; to the driver its worker is lost with it."""


class DecodeActor:
    """Decodes and preprocesses samples in its own process, of data sets that it opens itself."""

    def __init__(self) -> None:
        self._opened: dict[Hashable, Any] = {}

    def ready(self) -> None:
        """Who answers is ready."""

    def load(self, spec: DatasetSpec, index: int) -> Sample | DistqError:
        """A sample, or the error that a thread of the worker would have met."""
        try:
            with one_blas_thread():
                return open_dataset(self._opened, spec).load(index)
        except DistqError as error:
            return error
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in may raise anything, or call sys.exit
            return unexpected(f"sample {index} of {spec.source}", error)


class RayDecoders:
    """The actors of one worker; they share its placement group, so its node, and end with it."""

    def __init__(self, count: int) -> None:
        """Start them, from within the worker."""
        self._ray: Any = importlib.import_module("ray")
        actor = self._ray.remote(DecodeActor).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        self._actors = [actor.remote() for _ in range(count)]
        self._turn = itertools.cycle(self._actors)

    def require(self) -> None:
        """Wait until all have started.

        Raises:
            RayError: one does not.
        """
        self._ray.get([actor.ready.remote() for actor in self._actors])

    def load_ahead(
        self, spec: DatasetSpec, indices: Sequence[int], depth: int
    ) -> Iterator[Sample | UnreadableSample]:
        """Samples in order, the actors taking turns and at most ``depth`` samples ahead of the caller.

        Raises:
            DecoderLost: an actor is gone.
            DistqError: a sample does not fit the model, or the source cannot be opened.
        """
        return in_order(lambda index: next(self._turn).load.remote(spec, index), self._take, indices, depth)

    def _take(self, reference: Any) -> Sample | UnreadableSample:  # noqa: ANN401  # a Ray object reference
        try:
            loaded: Sample | DistqError = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:  # the sample could not travel
            raise
        except self._ray.exceptions.RayError as error:
            raise DecoderLost(str(error)) from error
        if isinstance(loaded, Sample):
            return replace(loaded, inputs=own(loaded.inputs))
        if isinstance(loaded, UnreadableSample):
            return loaded
        raise loaded
