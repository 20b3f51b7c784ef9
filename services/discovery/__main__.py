"""`python -m services.discovery`."""

from libs.runtime.main import run
from services.discovery.app import serve
from services.discovery.settings import Settings

if __name__ == "__main__":
    run("discovery", Settings, serve)
