"""`python -m autoheal`: the same as the command `autoheal`."""

from autoheal.cli.main import main

if __name__ == "__main__":
    main()
