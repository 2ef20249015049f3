"""Gateways by name: from away.toml beside this file, completed by the environment.

The example starts a gateway and points `shop` at it by the environment, as a deployment would.
"""

import os
from pathlib import Path

import away
from away import FaasConnection


def main() -> None:
    os.chdir(Path(__file__).parent)
    with away.gateway.run() as faas:
        faas.deploy({"service": "upper", "image": "process", "envProcess": "tr a-z A-Z"})

        os.environ["AWAY_GATEWAY_SHOP_URL"] = faas.url
        os.environ["AWAY_GATEWAY_SHOP_USER"] = faas.user
        os.environ["AWAY_GATEWAY_SHOP_PASSWORD"] = faas.password or ""

        from away.remote.shop import upper

        print(f"upper('shout') → {upper('shout')!r}")

        shop = FaasConnection.named("shop")
        print(f"{shop!r} waits {shop.timeout:g} s for a call")
        for gateway in away.config.configured():
            if gateway.name == "shop":
                for field, origin in sorted(gateway.origins.items()):
                    print(f"  {field} comes from {origin}")


if __name__ == "__main__":
    main()
