"""How many calls go in one request, and how many requests are under way: decided by what they took.

Pure arithmetic over the seconds that a function's own runtime reports, so that neither a slow gateway
nor a busy network looks like a slow function.
"""

from __future__ import annotations

import math

__all__ = ["Pace"]

# What a batch should take in the function: long beside the 8 ms that a real gateway costs a request,
# short beside what a person waits for.
TARGET_SECONDS = 0.075
# No call of a batch begins later than this: the rest comes back and goes to others.
BUDGET_SECONDS = 0.15
# The last inputs are shared among all requests, but not into such as a request itself costs.
LEAST_SECONDS = 0.005
# At most so many times as many calls as were just measured: the first ones may have been the quick ones.
GROWTH = 8
# A batch of trivial calls costs this process some 2 µs a call, in which it does nothing else.
MOST_CALLS = 4096
# A batch goes as one body, which gateways and functions hold whole; functions take 16 MiB.
MOST_BYTES = 1 << 20
# More trivial calls a second than this process can write and read: requests under way beyond what
# reaches it add nothing but waiting.
MOST_CALLS_A_SECOND = 250_000
FEW_REQUESTS = 4
# Input is read ahead for so many requests each: one under way and one waiting for its place.
AHEAD = 2
# And never more than this, but twice the concurrency where that is more.
MOST_AHEAD = 16_384


class Pace:
    """Choose sizes for one map.

    Args:
        concurrency: How many calls may be under way at once.
        fixed: The size of all batches where the caller chose one; 0 to choose it here.
    """

    def __init__(self, concurrency: int, fixed: int = 0) -> None:
        self.concurrency = concurrency
        self.size = fixed or 1
        self._fixed = fixed
        self._bytes_a_call = 0.0
        # seconds that a call takes; 0.0 before any was measured
        self._seconds = 0.0
        # how many requests the function has room for, as far as it has said
        self.fits = concurrency
        self._since_full = 0

    @property
    def budget(self) -> float:
        """Seconds in which calls of a batch may begin."""
        return BUDGET_SECONDS

    @property
    def requests(self) -> int:
        """How many requests are under way at most."""
        most = min(self.concurrency, self.fits)
        if self._seconds == 0.0:
            return most
        enough = math.ceil(self._seconds * MOST_CALLS_A_SECOND)
        return min(most, max(FEW_REQUESTS, enough))

    @property
    def at_once(self) -> int:
        """How many calls of one batch may run at once, so that all together keep to concurrency."""
        return max(1, self.concurrency // self.requests)

    @property
    def ahead(self) -> int:
        """How many inputs may be read that have no result delivered yet."""
        wanted = AHEAD * self.requests * self.size
        return max(min(wanted, MOST_AHEAD), AHEAD * self.concurrency)

    def share(self, left: int) -> int:
        """How many of the last inputs go in one request, so that all requests end at about one time."""
        if self._fixed or self._seconds == 0.0:
            return self.size
        least = int(LEAST_SECONDS / self._seconds)
        return max(1, min(self.size, max(least, -(-left // self.requests))))

    def took(self, count: int, seconds: float) -> None:
        """Take note of how long the calls of one batch took, in the function."""
        # A clock's tick counts as something: nothing takes no time at all.
        each = max(seconds, 1e-7) / count
        slower = each > self._seconds
        # Slower counts at once, quicker by half: too large a batch keeps others waiting.
        self._seconds = each if slower else (self._seconds + each) / 2
        if not self._fixed:
            wanted = int(TARGET_SECONDS / self._seconds)
            grown = max(self.size, GROWTH * count)
            self.size = max(1, min(wanted, grown, MOST_CALLS, self._most_by_bytes()))

    def weighed(self, count: int, size_in_bytes: int) -> None:
        """Take note of how large the body of a batch was."""
        each = size_in_bytes / count
        self._bytes_a_call = max(each, (self._bytes_a_call + each) / 2)
        if not self._fixed:
            self.size = max(1, min(self.size, self._most_by_bytes()))

    def _most_by_bytes(self) -> int:
        return int(MOST_BYTES / self._bytes_a_call) if self._bytes_a_call else MOST_CALLS

    def full(self, fitted: int, under_way: int) -> bool:
        """Take note that the function had no room for a request; True if fewer would do.

        Args:
            fitted: What :attr:`fits` was as the request began: those that began together count once.
            under_way: How many requests were under way.
        """
        if self.fits < fitted:
            return True
        if min(self.fits, under_way) <= 1:
            return False
        self.fits = max(1, min(self.fits, under_way) // 2)
        self._since_full = 0
        return True

    def fitted(self) -> None:
        """Take note of a request that had its turn: some of these, and one more is tried."""
        if self.fits < self.concurrency:
            self._since_full += 1
            if self._since_full > GROWTH * self.fits:
                self._since_full = 0
                self.fits += 1

    def split(self, count: int, *, singly: bool) -> None:
        """Take note that a batch of so many has to go in smaller ones."""
        self.size = 1 if singly else max(1, min(self.size, count // 2))
        if not singly:
            # The function takes no larger bodies: remembered as if calls were larger.
            self._bytes_a_call = max(self._bytes_a_call, MOST_BYTES / self.size)
