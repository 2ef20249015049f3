"""Who a container engine is to be at a registry: it pushes and pulls with the login that it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.config.secret import Secret
from away.publish.credentials import RegistryLogin, find_login

if TYPE_CHECKING:
    from away.publish.builders.order import Order

__all__ = ["Logins"]


class Logins:
    """The logins of one publish.

    Args:
        order: What to work with.
    """

    def __init__(self, order: Order) -> None:
        self.order = order

    @property
    def push_host(self) -> str:
        """The registry that is pushed to, as images are named by it."""
        return self.order.registry_host or self.order.registry_url.partition("://")[2].rstrip("/")

    def for_push(self) -> RegistryLogin | None:
        """Return the login at the registry that is pushed to; a credential helper may take seconds."""
        if self.order.registry_host is None:
            return self.of_gateway()
        given = self.order.options.registry_auth
        chosen_by = self.order.registry_chosen_by
        return find_login(self.push_host, given=given, pushed=True, chosen_by=chosen_by).login

    def for_pull(self, host: str) -> RegistryLogin | None:
        """Return the login at a registry that a base comes from."""
        if host == self.push_host:
            return self.for_push()
        return find_login(host).login

    def of_gateway(self) -> RegistryLogin | None:
        """Return the gateway's login, which its own registry takes."""
        connection = self.order.connection
        password = connection.password
        if password is None:
            return None
        return RegistryLogin(connection.user, Secret(password), source="the gateway")
