"""`python -m openecr` is `openecr`."""

from openecr.cli.main import main

if __name__ == "__main__":
    main()
