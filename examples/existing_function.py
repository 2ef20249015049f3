"""Functions that Away did not build: plain text and JSON in, plain text and JSON out."""

import away
from away import builder


def main() -> None:
    with away.gateway.run() as faas:
        # On a real OpenFaaS these would be images; here a command runs once a request.
        faas.deploy({"service": "sort", "image": "process", "envProcess": "sort -n"})
        faas.deploy({"service": "echo", "image": "process", "envProcess": "cat"})

        @builder.faas_function(
            faas,
            pack_args=lambda args: "\n".join(map(str, args)),
            unpack_args=lambda text: [int(line) for line in text.split()],
        )
        def sort(*numbers: int) -> list[int]: ...

        print(f"sort(3, 1, 2) → {sort(3, 1, 2)}")

        echo = builder.sync_from_name("echo", faas)
        print(f"echo('text') → {echo('text')!r}")
        print(f"echo({{'a': [1, 2]}}) → {echo({'a': [1, 2]})!r}")

        careful = builder.sync_from_name("echo", faas, implicit_exception_handling=False)
        print(f"with the status: {careful(1)}")


if __name__ == "__main__":
    main()
