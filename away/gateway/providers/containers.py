"""What a deployment means for the container engine: limits and the container's configuration.

Values in, values out: the container is like faasd's in all that a program in it can see, where the
engine lets it (hostname, environment, secrets, capabilities), and has the limits that faasd drops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.gateway.deploy_request import Refused
from away.gateway.quantities import Unreadable, memory_bytes, nano_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from away.gateway.deploy_request import Deployment

__all__ = ["PORT", "Limits", "configuration", "read_limits"]

# Where every function of OpenFaaS listens.
PORT = 8080
SECRETS = "/var/openfaas/secrets"
# The least that Docker Engine takes as a limit.
LEAST_MEMORY = 6 * 1024 * 1024
# A hundredth of a processor is the least that the engine can give.
LEAST_CPU = 10_000_000
# Far more than a function starts, and few enough that one that forks for ever stops by itself.
MOST_PROCESSES = 4096
ONE_CPU = 1_000_000_000
# cgroups' weight of one processor, as Kubernetes has it.
SHARES = 1024


class Limits(NamedTuple):
    """What a container may have, 0 for no limit, and what it is promised."""

    memory: int
    cpu: int
    promised_memory: int
    promised_cpu: int


def read_limits(deployment: Deployment, processors: int) -> Limits:
    """Read a deployment's limits and requests, which Kubernetes' quantities state.

    Args:
        deployment: With its limits and requests as text.
        processors: How many there are: a limit of more is none.

    Raises:
        Refused: 400 for one that cannot be read, or that the engine cannot give.
    """
    memory = _read(deployment, "limits", "memory", memory_bytes)
    cpu = _read(deployment, "limits", "cpu", nano_cpus)
    promised = _read(deployment, "requests", "memory", memory_bytes)
    shares = _read(deployment, "requests", "cpu", nano_cpus)
    if 0 < memory < LEAST_MEMORY:
        raise _refusal(deployment, "limits.memory is below 6Mi, the least that the engine can give")
    if memory and promised > memory:
        raise _refusal(deployment, "requests.memory is more than limits.memory")
    if cpu:
        cpu = max(cpu, LEAST_CPU) if cpu < processors * ONE_CPU else 0
    return Limits(memory, cpu, promised, shares)


def configuration(
    deployment: Deployment,
    image: str,
    limits: Limits,
    variables: Mapping[str, str],
    labels: Mapping[str, str],
    secrets: Path | None,
) -> dict[str, Any]:
    """Return the body of the engine's "create a container" for a function.

    Args:
        deployment: The function.
        image: What the engine knows the image by.
        limits: As :func:`read_limits` gave them.
        variables: Its environment, beside what the image has.
        labels: The container's labels.
        secrets: The folder of its secrets, if it has any.
    """
    process = {"fprocess": deployment.env_process} if deployment.env_process else {}
    return {
        "Image": image,
        "Hostname": deployment.name,
        "Env": [f"{name}={value}" for name, value in {**variables, **process}.items()],
        "Labels": dict(labels),
        "StopSignal": "SIGTERM",
        # Nobody would read the answers of an image's own check, which starts a process each time.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_configuration(deployment, limits, secrets),
    }


def _host_configuration(
    deployment: Deployment, limits: Limits, secrets: Path | None
) -> dict[str, Any]:
    temporary = {"/run": "rw,nosuid,noexec,size=64m,mode=755"}
    if deployment.read_only_root:
        # As Kubernetes' providers mount it for such functions: programs may be run there.
        temporary["/tmp"] = "rw,nosuid,exec,mode=1777"  # noqa: S108 - the container's
    mounts = []
    if secrets is not None:
        # The folder, not each file: a new value is a new file in it.
        mounts.append({"Type": "bind", "Source": str(secrets), "Target": SECRETS, "ReadOnly": True})
    return {
        "NetworkMode": "bridge",
        "CapDrop": ["ALL"],
        "CapAdd": ["NET_RAW"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": deployment.read_only_root,
        "Tmpfs": temporary,
        "Mounts": mounts,
        "Memory": limits.memory,
        # The same number again: no swap beside the memory.
        "MemorySwap": limits.memory,
        "MemoryReservation": limits.promised_memory,
        "NanoCpus": limits.cpu,
        "PidsLimit": MOST_PROCESSES,
        "CpuShares": limits.promised_cpu * SHARES // ONE_CPU,
        # The gateway reads what it prints as it prints it; the engine need not keep it too.
        "LogConfig": {"Type": "none"},
        # The program itself is process 1, as on faasd.
        "Init": False,
        "RestartPolicy": {"Name": "no"},
    }


def _read(deployment: Deployment, group: str, kind: str, read: Callable[[str], int]) -> int:
    stated: Mapping[str, str] = getattr(deployment, group)
    if kind not in stated:
        return 0
    try:
        return read(stated[kind])
    except Unreadable as error:
        raise _refusal(deployment, f"{group}.{kind}: {error}") from error


def _refusal(deployment: Deployment, why: str) -> Refused:
    return Refused(400, f"unable to create container: {deployment.name}, error: {why}")
