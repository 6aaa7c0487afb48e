"""``python -m distq`` is the command ``distq``."""

from distq.cli import main

if __name__ == "__main__":
    main()
