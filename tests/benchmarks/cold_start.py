"""Time the start of a server beside that of an interpreter; it runs inside a container.

``python3 - PORT ROUNDS COMMAND…`` prints a JSON object with the medians in seconds.
"""

import json
import socket
import statistics
import subprocess
import sys
import time

REQUEST = (
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: close\r\n\r\n10"
)


def first_answer(port, command):
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(REQUEST)
                status = connection.recv(4096).split(b" ", 2)[1]
                break
        except ConnectionRefusedError:
            time.sleep(0.0005)
    taken = time.perf_counter() - begun
    process.terminate()
    process.wait()
    assert status == b"200", status
    return taken


def interpreter():
    begun = time.perf_counter()
    subprocess.run(["python3", "-c", "import json"], check=True)
    return time.perf_counter() - begun


def main():
    port, rounds, *command = sys.argv[1:]
    bare, first = [], []
    interpreter()
    first_answer(int(port), command)
    for _ in range(int(rounds)):
        bare.append(interpreter())
        first.append(first_answer(int(port), command))
    print(json.dumps({"bare": statistics.median(bare), "first": statistics.median(first)}))


main()
