"""``python -m relay_trio`` is the ``relay-trio`` command."""

from relay_trio.cli.main import run

if __name__ == "__main__":
    run()
