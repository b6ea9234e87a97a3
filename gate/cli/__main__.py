"""`python -m gate.cli` is `ftgate`."""

from gate.cli import main

if __name__ == "__main__":
    main()
