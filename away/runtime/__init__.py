"""What runs beside a published function, in its container or its process.

``python -m away.runtime`` reads the function's payload, listens for HTTP and answers calls. It must
start fast, so it uses the standard library only, and of that only what the first call needs: asyncio
comes with the first coroutine, yaml with the first body that is not JSON, dill with a payload or an
argument that needs it. It knows nothing of gateways, publishing or hooks.
"""
