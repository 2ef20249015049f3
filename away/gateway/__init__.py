"""The embedded gateway: OpenFaaS's API on a laptop that has nothing but Python."""
