"""`python -m services.ca`."""

from libs.runtime.main import run
from services.ca.app import serve
from services.ca.settings import Settings

if __name__ == "__main__":
    run("ca", Settings, serve)
