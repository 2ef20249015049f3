"""What travels with a published function: helpers, classes, constants and closures."""

from dataclasses import dataclass

import away
from away import builder

RATES = {"EUR": 1.0, "CZK": 0.04}


@dataclass
class Price:
    amount: float
    currency: str

    def in_euro(self) -> float:
        return round(self.amount * RATES[self.currency], 2)


def parse(text: str) -> Price:
    amount, currency = text.split()
    return Price(float(amount), currency)


def discounted(percent: float):
    def total(prices: list[str]) -> float:
        """Sum prices such as '25 CZK' in euro, discounted."""
        full = sum(parse(each).in_euro() for each in prices)
        return round(full * (1 - percent / 100), 2)

    return total


def main() -> None:
    with away.gateway.run() as faas:
        sale = builder.mirror_in_faas(discounted(20), faas, name="sale-total", verbose=False)
        basket = ["100 CZK", "6 EUR"]
        print(f"here:  {discounted(20)(basket)}")
        print(f"there: {sale(basket)}")

        # The values were taken as they were: a later change here changes nothing there.
        RATES["CZK"] = 99.0
        print(f"there, after a change here: {sale(basket)}")


if __name__ == "__main__":
    main()
