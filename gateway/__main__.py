"""`python -m gateway` is `replygate`."""

from gateway.cli.app import main

if __name__ == "__main__":
    main()
