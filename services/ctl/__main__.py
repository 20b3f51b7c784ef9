"""`seinectl`, also `python -m services.ctl`."""

from services.ctl.app import app


def main() -> None:
    """Run the command that the command line names."""
    app()


if __name__ == "__main__":
    main()
