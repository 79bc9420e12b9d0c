"""Opens the store that the settings name."""

from __future__ import annotations

from deployments.config import StoreSettings
from deployments.stores.base import Store
from deployments.stores.owner import OwnedStore


async def open_store(settings: StoreSettings) -> Store:
    """The store behind its owner process, the same for every replica with the same settings.

    Raises:
        StoreError: the store cannot be used; the message says why.
    """
    return await OwnedStore.connect(settings.kind, settings.path)
