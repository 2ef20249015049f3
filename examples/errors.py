"""What goes wrong, and how each error reads."""

import threading

import away
from away import FaasConnection, builder
from away.exceptions import AwayError


def show(title: str, action) -> None:
    try:
        action()
    except Exception as error:
        print(f"{title}\n  {type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            print(f"  note: {note.strip().splitlines()[-1]}")
    else:
        raise SystemExit(f"{title}: nothing went wrong")


LOCK = threading.Lock()


def main() -> None:
    with away.gateway.run() as faas:

        @builder.publish(faas, verbose=False)
        def divide(a: float, b: float) -> float:
            return a / b

        def guarded(n):
            with LOCK:
                return n

        show("the function's own exception", lambda: divide(1, 0))
        show("a wrong call, before anything is sent", lambda: divide(1))
        show("an argument that cannot travel", lambda: divide(1, {"by": object()}))
        show("a wrong name", lambda: builder.sync_from_name("devide", faas)(1))
        show("a value that cannot be captured", lambda: builder.mirror_in_faas(guarded, faas))

        stranger = FaasConnection(faas.url, user="admin", password="wrong")
        show("a wrong password", stranger.functions)

    nobody = FaasConnection("http://127.0.0.1:9", password="none", connect_timeout=0.5)
    show("no gateway", nobody.functions)
    print(f"all of them but the function's own are {AwayError.__name__}s or TypeErrors")


if __name__ == "__main__":
    main()
